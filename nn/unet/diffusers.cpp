#include "nn/unet/diffusers.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "nn/unet/config_json.h"
#include "tensor/error.h"
#include "tensor/io/safetensors.h"
#include "tensor/pool.h"

namespace tw {
namespace {

// Where a parameter of ours comes from: one tensor, or several that lie side by side in its last dimension.
struct Source {
  std::vector<std::string> names;
  Shape shape;  // of each, in diffusers' layout
};

std::string replaced(std::string name, const std::string& from, const std::string& to) {
  const size_t at = name.find(from);
  return at == std::string::npos ? name : name.replace(at, from.size(), to);
}

bool is_table(const std::string& name) { return name == "class_embedding.weight"; }

Source source_of(const Parameter& parameter) {
  const Shape& ours = parameter.value.shape();
  Source source;
  if (parameter.name.find(".to_qkv.") != std::string::npos)
    for (const char* part : {".to_q.", ".to_k.", ".to_v."})
      source.names.push_back(replaced(parameter.name, ".to_qkv.", part));
  else
    source.names = {replaced(parameter.name, ".to_out.", ".to_out.0.")};
  const int64_t out = ours.back() / static_cast<int64_t>(source.names.size());
  if (ours.rank() == 4)
    source.shape = {out, ours[2], ours[0], ours[1]};
  else if (ours.rank() == 2 && !is_table(parameter.name))
    source.shape = {out, ours[0]};
  else
    source.shape = ours.with(-1, out);
  return source;
}

// (out, in, kh, kw) -> (kh, kw, in, out), (out, in) -> (in, out), and back.
Tensor to_ours(const Tensor& t, const std::string& name) {
  if (t.rank() == 4) return t.permute({2, 3, 1, 0});
  return t.rank() == 2 && !is_table(name) ? t.permute({1, 0}) : t;
}
Tensor to_theirs(const Tensor& t, const std::string& name) {
  if (t.rank() == 4) return t.permute({3, 2, 0, 1});
  return t.rank() == 2 && !is_table(name) ? t.permute({1, 0}) : t;
}

// Today's name of a tensor -> its name in the file: attention had other names before 2023.
std::map<std::string, std::string> modern_names(const std::vector<std::string>& names) {
  static const std::vector<std::pair<std::string, std::string>> renamed{
      {".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}};
  std::map<std::string, std::string> result;
  for (const std::string& given : names) {
    std::string name = given;
    for (const auto& [from, to] : renamed) name = replaced(name, from, to);
    result[name] = given;
  }
  return result;
}

// Linear weights were once stored as 1x1 convolutions.
Tensor without_taps(const Tensor& tensor, const std::string& name) {
  const bool squeeze = name.find(".attentions.") != std::string::npos && tensor.rank() == 4;
  return squeeze ? tensor.contiguous().reshape({tensor.dim(0), tensor.dim(1)}) : tensor;
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail_data(path.string(), "cannot be read");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

void load_diffusers_parameters(UNet& net, const std::vector<std::string>& names,
                               const TensorLookup& tensor_of, const std::string& where) {
  const std::map<std::string, std::string> given = modern_names(names);
  std::vector<Parameter> parameters = net.parameters();
  std::vector<Source> sources;
  size_t used = 0;
  for (const Parameter& parameter : parameters) {
    sources.push_back(source_of(parameter));
    used += sources.back().names.size();
    for (const std::string& name : sources.back().names)
      if (!given.contains(name))
        fail_data(where, "tensor '", name, "' is missing; expected shape ", sources.back().shape);
  }
  if (used != names.size())
    fail_data(where, "holds ", names.size(), " tensors, but the network of its config has ", used);
  // Reading, turning and the first touch of the memory; every thread takes the next parameter.
  std::atomic<size_t> next = 0;
  kernels::parallel_for(kernels::thread_count(), 1, [&](int64_t, int64_t) {
    for (size_t i = next++; i < parameters.size(); i = next++) {
      const auto value = [&] {
        const AllocatorScope scope(weight_allocator());
        return Tensor::empty(parameters[i].value.shape());
      }();
      int64_t begin = 0;
      for (const std::string& name : sources[i].names) {
        const Tensor tensor = without_taps(tensor_of(given.at(name)), name);
        if (!(tensor.shape() == sources[i].shape))
          fail_data(where, "tensor '", name, "' is ", tensor.shape(), ", expected ", sources[i].shape);
        const Tensor part = to_ours(tensor, name);
        value.slice(-1, begin, begin + part.dim(-1)).copy_from(part);
        begin += part.dim(-1);
      }
      parameters[i].value.mutable_value() = value;
    }
  });
}

std::map<std::string, Tensor> diffusers_tensors(const UNet& net) {
  std::map<std::string, Tensor> result;
  for (const Parameter& parameter : net.parameters()) {
    const Source source = source_of(parameter);
    const Tensor& value = parameter.value.value();
    const int64_t width = value.dim(-1) / static_cast<int64_t>(source.names.size());
    int64_t begin = 0;
    for (const std::string& name : source.names) {
      result[name] = to_theirs(value.slice(-1, begin, begin + width), name).to(DType::f32).contiguous();
      begin += width;
    }
  }
  return result;
}

std::unique_ptr<UNet> load_diffusers_unet(const std::string& folder) {
  std::filesystem::path at = folder;
  if (std::filesystem::exists(at / "unet" / "config.json")) at /= "unet";
  const std::string config = (at / "config.json").string();
  const std::string weights = (at / "diffusion_pytorch_model.safetensors").string();
  auto net = std::make_unique<UNet>(unet_config_from_diffusers(read_text(config), config), std::nullopt);
  const SafeTensorsFile file(weights);
  std::vector<std::string> names;
  for (const SafeTensorsEntry& entry : file.entries()) names.push_back(entry.name);
  // One tensor a thread at a time: each is read into the memory that the last one of its size left to the
  // pool.
  load_diffusers_parameters(
      *net, names, [&](const std::string& name) { return file.load(name); }, weights);
  default_pool()->trim();  // of every size that a tensor had, one a thread
  return net;
}

}  // namespace tw
