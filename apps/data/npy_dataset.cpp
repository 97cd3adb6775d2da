#include "apps/data/npy_dataset.h"

#include "apps/data/fit.h"
#include "apps/data/stored_dataset.h"
#include "tensor/error.h"
#include "tensor/io/npy.h"

namespace tw {

std::unique_ptr<Dataset> open_npy(const std::string& path, const DatasetOptions& options) {
  const NpyHeader header = read_npy_header(path);
  const Shape& shape = header.shape;
  const int64_t channels = shape.rank() == 4 ? shape[3] : 1;
  if (shape.rank() < 3 || shape.rank() > 4 || (channels != 1 && channels != 3))
    fail_data(path, "has the shape ", shape, ", expected (n, h, w), (n, h, w, 1) or (n, h, w, 3)");
  if (shape.numel() == 0) fail_data(path, "has the shape ", shape, ": it holds no image");
  const std::string type = header.descr.substr(1);  // without the byte order
  const bool real = type[0] == 'f';
  if (!real && type != "u1" && type != "u2")
    fail_data(path, "holds ", header.descr, ", expected u1 (8 bits), u2 (16 bits) or floats in [-1, 1]");
  const Tensor array = load_npy(path).to(DType::f32);
  const float* values = array.data<float>();
  auto data = std::make_unique<StoredDataset>();
  Image image = make_image(shape[1], shape[2], channels, type == "u1" ? 8 : 16);
  for (int64_t i = 0; i < shape[0]; ++i) {
    for (uint16_t& pixel : image.pixels) {
      const float value = *values++;
      if (real && !(value >= -1 && value <= 1))
        fail_data(path, "image ", i, " holds the value ", value, "; floats must lie in [-1, 1]");
      pixel = real ? quantise(value, 16) : static_cast<uint16_t>(value);
    }
    const Image fitted = fit(image, options.resolution);
    if (i == 0) data->reserve(shape[0], fitted);
    data->add(fitted, 0, path + "[" + std::to_string(i) + "]");
  }
  return data;
}

}  // namespace tw
