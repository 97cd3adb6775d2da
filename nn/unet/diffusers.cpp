#include "nn/unet/diffusers.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <vector>

#include "kernels/cpu/thread_pool.h"
#include "nn/unet/config_json.h"
#include "tensor/error.h"
#include "tensor/io/safetensors.h"

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

// A name of attention before 2023 (linear weights were then stored as 1x1 convolutions) as it is today.
std::string modernised(std::string name) {
  static const std::vector<std::pair<std::string, std::string>> renamed{
      {".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}};
  for (const auto& [from, to] : renamed) name = replaced(name, from, to);
  return name;
}

// Where tensors come from: `shape` of one, and [begin, end) of its first dimension.
struct Weights {
  std::vector<std::string> names;
  std::function<Shape(const std::string&)> shape;
  std::function<Tensor(const std::string&, int64_t begin, int64_t end)> rows;
};

// Rows that are read and turned together: a part of an L2 cache, and whole cache lines of ours.
int64_t rows_together(const Shape& shape) {
  constexpr int64_t floats = 65536, line = 16;
  const int64_t row = std::max<int64_t>(1, shape.numel() / std::max<int64_t>(1, shape[0]));
  return std::max(line, floats / row / line * line);
}

// `to`, our layout, from the tensor `name` of the file.
void read_turned(const Weights& weights, const std::string& name, const Source& source, Tensor to,
                 const std::string& today, const std::string& where) {
  const Shape found = weights.shape(name);
  const bool squeeze = today.find(".attentions.") != std::string::npos && found.rank() == 4;
  const Shape seen = squeeze ? Shape{found[0], found[1]} : found;
  if (!(seen == source.shape))
    fail_data(where, "tensor '", today, "' is ", seen, ", expected ", source.shape);
  if (is_table(today)) return to.copy_from(weights.rows(name, 0, seen[0]));
  const int64_t together = rows_together(seen);
  for (int64_t begin = 0; begin < seen[0]; begin += together) {
    const int64_t end = std::min(seen[0], begin + together);
    Tensor rows = weights.rows(name, begin, end);
    if (squeeze) rows = rows.contiguous().reshape({end - begin, seen[1]});
    to.slice(-1, begin, end).copy_from(to_ours(rows, today));
  }
}

// Reading, turning and the first touch of the memory are shared by the threads, layer by layer.
void load_parameters(UNet& net, const Weights& weights, const std::string& where) {
  std::map<std::string, std::string> name_of;  // today's name -> the file's
  for (const std::string& name : weights.names) name_of[modernised(name)] = name;
  std::vector<Parameter> parameters = net.parameters();
  std::vector<Source> sources;
  size_t used = 0;
  for (const Parameter& parameter : parameters) {
    sources.push_back(source_of(parameter));
    used += sources.back().names.size();
    for (const std::string& name : sources.back().names)
      if (!name_of.contains(name))
        fail_data(where, "tensor '", name, "' is missing; expected shape ", sources.back().shape);
  }
  if (used != name_of.size())
    fail_data(where, "holds ", name_of.size(), " tensors, but the network of its config has ", used);
  std::atomic<size_t> next = 0;
  kernels::parallel_for(kernels::thread_count(), 1, [&](int64_t, int64_t) {
    for (size_t i = next++; i < parameters.size(); i = next++) {
      const auto value = [&] {
        const AllocatorScope scope(system_allocator());  // weights live long
        return Tensor::empty(parameters[i].value.shape());
      }();
      const int64_t width = value.dim(-1) / static_cast<int64_t>(sources[i].names.size());
      int64_t begin = 0;
      for (const std::string& name : sources[i].names) {
        read_turned(weights, name_of.at(name), sources[i], value.slice(-1, begin, begin + width), name,
                    where);
        begin += width;
      }
      parameters[i].value.mutable_value() = value;
    }
  });
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) fail_data(path.string(), "cannot be read");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

void load_diffusers_parameters(UNet& net, const std::map<std::string, Tensor>& tensors,
                               const std::string& where) {
  Weights weights;
  for (const auto& [name, tensor] : tensors) weights.names.push_back(name);
  weights.shape = [&](const std::string& name) { return tensors.at(name).shape(); };
  weights.rows = [&](const std::string& name, int64_t begin, int64_t end) {
    return tensors.at(name).slice(0, begin, end);
  };
  load_parameters(net, weights, where);
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
  Weights source;
  for (const SafeTensorsEntry& entry : file.entries())
    if (SafeTensorsFile::can_load(entry)) source.names.push_back(entry.name);
  source.shape = [&](const std::string& name) { return file.shape(name); };
  source.rows = [&](const std::string& name, int64_t begin, int64_t end) {
    return file.load_rows(name, begin, end);
  };
  load_parameters(*net, source, weights);
  return net;
}

}  // namespace tw
