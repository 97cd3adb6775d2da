#include "tensor/io/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/random_tensor.h"
#include "tests/tensor/io/hostile_file.h"

namespace tw {
namespace {

std::string with_header(const std::string& json, const std::string& data) {
  const uint64_t length = json.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + json + data;
}

class SafeTensorsTest : public testing::Test {
 protected:
  // Expects that a file of this header and data is refused with a message that contains `text`.
  void expect_refused(const std::string& json, const std::string& data, const std::string& text) {
    const std::string path = folder_.path("x.safetensors");
    write_bytes(path, with_header(json, data));
    expect_data_error([&] { load_safetensors(path); }, path, text);
  }
  SafeTensors loaded(const std::string& bytes) {
    write_bytes(folder_.path("x.safetensors"), bytes);
    return load_safetensors(folder_.path("x.safetensors"));
  }
  TemporaryFolder folder_;
};

const char* two_floats = R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
const std::string one_two("\0\0\x80\x3f\0\0\0\x40", 8);

TEST_F(SafeTensorsTest, ReadsTheSmallestExample) {
  const SafeTensors file = loaded(with_header(std::string(two_floats) + "  ", one_two));
  EXPECT_EQ(file.at("w").shape(), (Shape{2}));
  EXPECT_EQ(file.at("w").to_vector(), (std::vector<double>{1, 2}));
}

TEST_F(SafeTensorsTest, WrittenIsWhatIsRead) {
  std::map<std::string, Tensor> tensors;
  for (DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8})
    tensors[dtype_name(dtype)] = random_tensor({2, 3, 5}, dtype, 1, is_floating(dtype) ? 3 : 100);
  tensors["scalar"] = Tensor::full({}, 2.5);
  tensors["empty"] = Tensor::zeros({3, 0, 2});
  tensors["permuted"] = random_tensor({4, 6}).permute({1, 0});
  tensors["slice"] = random_tensor({4, 6}).slice(1, 2, 5);
  tensors["quote\" and \xc3\xa9\n"] = Tensor::full({1}, 1, DType::u8);
  const std::string path = folder_.path("all.safetensors");
  save_safetensors(path, tensors, {{"author", "a \"name\""}});
  const SafeTensors read = load_safetensors(path);
  EXPECT_EQ(read.metadata, (std::map<std::string, std::string>{{"author", "a \"name\""}, {"format", "pt"}}));
  ASSERT_EQ(read.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(read.at(name).dtype(), tensor.dtype()) << name;
    EXPECT_EQ(read.at(name).shape(), tensor.shape()) << name;
    EXPECT_EQ(read.at(name).to_vector(), tensor.to_vector()) << name;
  }
  // Header padded to 8 bytes, tensors by falling element size: each is aligned to its element.
  uint64_t length = 0;
  std::memcpy(&length, read_bytes(path).data(), 8);
  EXPECT_EQ(length % 8, 0u);
  const SafeTensorsFile file(path);
  uint64_t before = 8;
  for (const SafeTensorsEntry& entry : file.entries()) {
    if (entry.begin == entry.end) continue;
    const uint64_t size = dtype_size(read.at(entry.name).dtype());
    EXPECT_EQ(entry.begin % size, 0u) << entry.name;
    EXPECT_LE(size, before);
    before = size;
  }
}

TEST_F(SafeTensorsTest, ReplacesAFileThatIsLoadedFromItself) {
  const std::string path = folder_.path("self.safetensors");
  save_safetensors(path, {{"a", random_tensor({100})}});
  const SafeTensors first = load_safetensors(path);
  save_safetensors(path, first.tensors);
  EXPECT_EQ(load_safetensors(path).at("a").to_vector(), first.at("a").to_vector());
}

TEST_F(SafeTensorsTest, OrderOfEntriesIsFree) {
  const SafeTensors file = loaded(with_header(
      R"({"b":{"data_offsets":[4,8],"shape":[],"dtype":"F32"},"a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}})",
      one_two));
  EXPECT_EQ(file.at("a").item(), 1);
  EXPECT_EQ(file.at("b").item(), 2);
}

TEST_F(SafeTensorsTest, BoolIsU8AndOtherDtypesFailOnlyWhenUsed) {
  const SafeTensors file = loaded(with_header(
      R"({"m":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]},"q":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[2,4]},)"
      R"("deep":{"dtype":"U8","shape":[1,1,1,1,1,1,1],"data_offsets":[4,5]}, "four":{"dtype":"F4","shape":[2],"data_offsets":[5,6]}})",
      std::string("\1\0abcd", 6)));
  EXPECT_EQ(file.at("m").dtype(), DType::u8);
  EXPECT_EQ(file.at("m").to_vector(), (std::vector<double>{1, 0}));
  expect_data_error([&] { file.at("q"); }, file.path, "F8_E4M3");
  expect_data_error([&] { file.at("nothing"); }, file.path, "'nothing'");
  const SafeTensorsFile header(file.path);
  EXPECT_EQ(header.entries().size(), 4u);
  EXPECT_EQ(header.entry("deep").shape.size(), 7u);
  expect_data_error([&] { header.load("deep"); }, file.path, "dimensions");
  expect_data_error([&] { header.load("four"); }, file.path, "F4");
}

TEST_F(SafeTensorsTest, RefusesWrongHeaders) {
  expect_refused("", "", "does not start with '{'");
  expect_refused(" {}", "", "does not start with '{'");
  expect_refused("[]", "", "does not start with '{'");
  expect_refused("{", "", "not valid JSON");
  expect_refused("{} x", "", "not valid JSON");
  expect_refused(std::string("{}\0\0", 4), "", "zero byte");
  expect_refused("{\"\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", one_two,
                 "not valid JSON");
  expect_refused(R"({"__metadata__":{"a":1}})", "", "expected a string");
  expect_refused(R"({"__metadata__":{"a":{}}})", "", "expected a string");
  expect_refused(R"({"__metadata__":{"a":"1","a":"2"}})", "", "twice");
  expect_refused(R"({"__metadata__":{},"__metadata__":{}})", "", "twice");
  expect_refused(R"({"w":3})", "", "expected a JSON object");
  expect_refused(R"({"w":{"dtype":"F32","shape":[2]}})", one_two, "no 'data_offsets'");
  expect_refused(R"({"w":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", one_two, "twice");
  expect_refused(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]}})", one_two,
                 "unknown member");
  expect_refused(R"({"w":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", one_two, "name of a dtype");
  expect_refused(R"({"w":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", one_two, "unknown dtype 'F33'");
  expect_refused(R"({"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", one_two, "whole number");
  expect_refused(R"({"w":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", one_two, "whole number");
  expect_refused(R"({"w":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", one_two, "whole number");
  expect_refused(R"({"w":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", one_two, "list of numbers");
  expect_refused(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}})", one_two, "more than two");
  expect_refused(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", one_two, "expected two");
  expect_refused(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551616]}})", one_two,
                 "whole number");
}

TEST_F(SafeTensorsTest, RefusesDuplicateNames) {
  expect_refused(
      R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      one_two, "the name 'w' appears twice");
}

TEST_F(SafeTensorsTest, RefusesWrongRanges) {
  const auto pair = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"U8",)" + a + R"(},"b":{"dtype":"U8",)" + b + "}}";
  };
  expect_refused(pair(R"("shape":[4],"data_offsets":[0,4])", R"("shape":[3],"data_offsets":[5,8])"), one_two,
                 "hole");
  expect_refused(pair(R"("shape":[4],"data_offsets":[0,4])", R"("shape":[5],"data_offsets":[3,8])"), one_two,
                 "overlap");
  expect_refused(pair(R"("shape":[4],"data_offsets":[0,4])", R"("shape":[4],"data_offsets":[0,4])"), one_two,
                 "overlap");
  expect_refused(pair(R"("shape":[4],"data_offsets":[1,5])", R"("shape":[3],"data_offsets":[5,8])"), one_two,
                 "hole");
  expect_refused(pair(R"("shape":[4],"data_offsets":[0,4])", R"("shape":[3],"data_offsets":[4,7])"), one_two,
                 "1 more follow");
  expect_refused(pair(R"("shape":[4],"data_offsets":[0,4])", R"("shape":[5],"data_offsets":[4,9])"), one_two,
                 "cut off");
  expect_refused(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[8,4]}})", one_two, "before its start");
  expect_refused(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", one_two, "needs 12 bytes");
  expect_refused(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,8]}})", one_two,
                 "whole number of bytes");
  // 2^62 elements of 4 bytes: the product overflows to 0.
  expect_refused(R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", "",
                 "2^64 bits");
  expect_refused(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", "",
                 "2^64 bits");
  expect_refused(
      R"({"a":{"dtype":"U8","shape":[8],"data_offsets":[18446744073709551608,18446744073709551615]}})",
      one_two, "needs 8 bytes");
  expect_refused("{}", "x", "1 more follow");
}

TEST_F(SafeTensorsTest, HugeExtentsBesideAZeroAreHarmless) {
  const SafeTensors file = loaded(with_header(
      R"({"a":{"dtype":"F32","shape":[0,1099511627776,1099511627776],"data_offsets":[0,0]}})", ""));
  EXPECT_EQ(file.at("a").numel(), 0);
  EXPECT_EQ(file.at("a").clone().to_vector().size(), 0u);
  expect_refused(R"({"a":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}})", "",
                 "extent");
}

TEST_F(SafeTensorsTest, RefusesGiantHeaderLengths) {
  const std::string path = folder_.path("x.safetensors");
  for (uint64_t length : {uint64_t{100'000'001}, uint64_t{1} << 63, ~uint64_t{0}}) {
    std::string bytes = with_header(two_floats, one_two);
    std::memcpy(bytes.data(), &length, 8);
    write_bytes(path, bytes);
    expect_data_error([&] { load_safetensors(path); }, path, "expected at most 100000000");
  }
  std::string bytes = with_header(two_floats, one_two);
  const uint64_t length = 99'999'999;
  std::memcpy(bytes.data(), &length, 8);
  write_bytes(path, bytes);
  expect_data_error([&] { load_safetensors(path); }, path, "the file ends at byte");
}

TEST_F(SafeTensorsTest, ManyOpenBracketsDoNotOverflowTheStack) {
  expect_refused("{\"a\":" + std::string(1'000'000, '['), "", "expected a JSON object");
  expect_refused("{\"a\":{\"shape\":" + std::string(1'000'000, '['), "", "whole number");
}

TEST_F(SafeTensorsTest, NamesDownloadAccidents) {
  const std::string path = folder_.path("x.safetensors");
  write_bytes(path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
  expect_data_error([&] { load_safetensors(path); }, path, "Git-LFS");
  write_bytes(path, "<!DOCTYPE html><html></html>");
  expect_data_error([&] { load_safetensors(path); }, path, "HTML");
  expect_data_error([&] { load_safetensors(folder_.path("absent")); }, "absent", "No such file");
  expect_data_error([&] { load_safetensors(folder_.path()); }, folder_.path(), "is a folder");
}

TEST_F(SafeTensorsTest, SurvivesDamage) {
  const std::string path = folder_.path("valid.safetensors");
  save_safetensors(path, {{"a", random_tensor({3})}, {"b", Tensor::full({2, 2}, 3, DType::u8)}},
                   {{"k", "v"}});
  expect_survives_damage(read_bytes(path), ".safetensors", [](const std::string& p) { load_safetensors(p); });
}

TEST_F(SafeTensorsTest, RefusesToSaveWhatItCannot) {
  const std::string path = folder_.path("x.safetensors");
  EXPECT_THROW(save_safetensors(path, {{"a", Tensor()}}), Error);
  EXPECT_THROW(save_safetensors(path, {{"__metadata__", Tensor::zeros({1})}}), Error);
  EXPECT_THROW(save_safetensors(path, {{"\xff", Tensor::zeros({1})}}), Error);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace tw
