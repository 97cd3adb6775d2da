#include "apps/sampling/provenance.h"

#include "apps/cli/version.h"
#include "apps/image/png.h"
#include "kernels/cpu/isa.h"
#include "tensor/cuda_library.h"
#include "tensor/error.h"

namespace tw {

using Json = nlohmann::ordered_json;

std::string arithmetic_of(Device device) {
  if (device == Device::cpu) return kernels::isa_name(kernels::active_isa());
  return std::string(device_name(device)) + (cuda_tf32_allowed() ? " tf32" : "");
}

namespace {
Json to_json(const Provenance& from) {
  return {{"model", from.model}, {"model-hash", from.model_hash}, {"precision", from.precision},
          {"isa", from.isa},     {"exact", from.exact},           {"sampler", from.sampler.to_json()}};
}
}  // namespace

void Provenance::write(Image& image) const {
  Json json = to_json(*this);
  json["seed"] = seed;
  image.text["tweedie"] = json.dump();
  image.text["seed"] = std::to_string(seed);
  image.text["Software"] = "tweedie " + version_text();
}

void Provenance::write_sheet(Image& image, const std::vector<uint64_t>& seeds) const {
  Json json = to_json(*this);
  json["seeds"] = seeds;
  image.text["tweedie"] = json.dump();
  image.text["Software"] = "tweedie " + version_text();
}

bool Provenance::operator==(const Provenance& other) const {
  return model_hash == other.model_hash && precision == other.precision && isa == other.isa &&
         exact == other.exact && sampler.to_json() == other.sampler.to_json() && seed == other.seed;
}

Provenance read_provenance(const std::string& png) {
  const Image image = read_png(png);
  const auto text = image.text.find("tweedie");
  if (text == image.text.end())
    fail_data(png, "was not drawn by tw-sample: it has no text chunk \"tweedie\"");
  Provenance from;
  try {
    const Json json = Json::parse(text->second);
    if (!json.contains("seed")) fail_data(png, "is a sheet of many images; --reproduce takes one image");
    json.at("model").get_to(from.model);
    json.at("model-hash").get_to(from.model_hash);
    json.at("precision").get_to(from.precision);
    json.at("isa").get_to(from.isa);
    from.exact = json.value("exact", true);  // absent where it was written before there was a choice
    json.at("seed").get_to(from.seed);
    from.sampler.read(json.at("sampler"));
  } catch (const Json::exception& error) {
    fail_data(png, "malformed text chunk \"tweedie\": ", error.what());
  }
  if (from.precision != "f32" && from.precision != "bf16" && from.precision != "f16")
    fail_data(png, "unknown precision '", from.precision, "'");
  return from;
}

}  // namespace tw
