#include "tensor/io/npy.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>

#include "tensor/io/npy_header.h"
#include "tests/random_tensor.h"
#include "tests/tensor/io/hostile_file.h"

namespace tw {
namespace {

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string npy(const std::string& dictionary, const std::string& data, char version = 1) {
  std::string length(version == 1 ? 2 : 4, '\0');
  length[0] = static_cast<char>(dictionary.size());
  length[1] = static_cast<char>(dictionary.size() >> 8);
  return std::string("\x93NUMPY") + version + '\0' + length + dictionary + data;
}
std::string npy_of(const std::string& descr, const std::string& shape, const std::string& data) {
  return npy("{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }\n", data);
}

// A ZIP file as Python's zipfile writes it to a stream: sizes in the directory only.
struct Member {
  std::string name, data;
  bool deflate = false;
};
std::string zip_of(const std::vector<Member>& members) {
  std::string out, directory;
  const auto put = [](std::string& to, uint64_t value, size_t size) {
    to.append(reinterpret_cast<char*>(&value), size);
  };
  for (const Member& member : members) {
    std::string packed = member.data;
    const uLong crc =
        crc32(0, reinterpret_cast<const Bytef*>(member.data.data()), static_cast<uInt>(member.data.size()));
    if (member.deflate) {
      packed.resize(member.data.size() + 100);
      z_stream stream{};
      deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(member.data.data()));
      stream.avail_in = static_cast<uInt>(member.data.size());
      stream.next_out = reinterpret_cast<Bytef*>(packed.data());
      stream.avail_out = static_cast<uInt>(packed.size());
      deflate(&stream, Z_FINISH);
      packed.resize(stream.total_out);
      deflateEnd(&stream);
    }
    const uint64_t offset = out.size(), method = member.deflate ? 8 : 0;
    put(out, 0x04034b50, 4);
    for (uint64_t v : {uint64_t{20}, uint64_t{8}, method, uint64_t{0}, uint64_t{33}}) put(out, v, 2);
    put(out, 0, 4), put(out, 0, 4), put(out, 0, 4);
    put(out, member.name.size(), 2), put(out, 6, 2);
    out += member.name + std::string("FB\2\0ZZ", 6) + packed;
    put(directory, 0x02014b50, 4);
    for (uint64_t v : {uint64_t{20}, uint64_t{20}, uint64_t{8}, method, uint64_t{0}, uint64_t{33}})
      put(directory, v, 2);
    put(directory, crc, 4), put(directory, packed.size(), 4), put(directory, member.data.size(), 4);
    for (uint64_t v : {member.name.size(), size_t{0}, size_t{0}, size_t{0}, size_t{0}}) put(directory, v, 2);
    put(directory, 0, 4), put(directory, offset, 4);
    directory += member.name;
  }
  const uint64_t begin = out.size();
  out += directory;
  put(out, 0x06054b50, 4), put(out, 0, 4);
  put(out, members.size(), 2), put(out, members.size(), 2), put(out, directory.size(), 4), put(out, begin, 4),
      put(out, 0, 2);
  return out;
}

class NpyTest : public testing::Test {
 protected:
  Tensor loaded(const std::string& bytes) {
    write_bytes(path_, bytes);
    return load_npy(path_);
  }
  void expect_refused(const std::string& bytes, const std::string& text) {
    write_bytes(path_, bytes);
    expect_data_error([&] { load_npy(path_); }, path_, text);
  }
  void expect_npz_refused(const std::string& bytes, const std::string& text) {
    write_bytes(path_, bytes);
    expect_data_error([&] { load_npz(path_); }, path_, text);
  }
  TemporaryFolder folder_;
  std::string path_ = folder_.path("array");
};

TEST_F(NpyTest, WrittenIsWhatIsRead) {
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::i32, DType::i64, DType::u8})
    for (const Shape& shape : {Shape{}, Shape{5}, Shape{2, 3}, Shape{2, 1, 3, 2}, Shape{3, 0}}) {
      const Tensor tensor = random_tensor(shape, dtype, 2, 50);
      save_npy(path_, tensor);
      const Tensor read = load_npy(path_);
      EXPECT_EQ(read.dtype(), dtype);
      EXPECT_EQ(read.shape(), shape);
      EXPECT_EQ(read.to_vector(), tensor.to_vector());
    }
  const Tensor bf = random_tensor({4}, DType::bf16);
  save_npy(path_, bf);
  EXPECT_EQ(load_npy(path_).dtype(), DType::f32);
  EXPECT_EQ(load_npy(path_).to_vector(), bf.to_vector());
  const Tensor view = random_tensor({4, 5}).permute({1, 0});
  save_npy(path_, view);
  EXPECT_EQ(load_npy(path_).to_vector(), view.to_vector());
}

TEST_F(NpyTest, HeaderIsThatOfNumPy) {
  save_npy(path_, Tensor::zeros({5}));
  const std::string bytes = read_bytes(path_);
  EXPECT_EQ(bytes.substr(10, 58),
            "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }"
            " ");
  EXPECT_EQ(bytes.size(), 128u + 20u);
  EXPECT_EQ(bytes[127], '\n');
  const NpyHeader header = read_npy_header(path_);
  EXPECT_EQ(header.data_begin, 128u);
  EXPECT_EQ(header.descr, "<f4");
  EXPECT_EQ(header.shape, (Shape{5}));
}

TEST_F(NpyTest, ReadsEveryVersionAndSpelling) {
  const std::string data = bytes_of<float>({1, 2, 3, 4, 5, 6});
  const std::vector<double> expected{1, 2, 3, 4, 5, 6};
  for (char version : {1, 2, 3})
    EXPECT_EQ(loaded(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n", data, version))
                  .to_vector(),
              expected);
  EXPECT_EQ(loaded(npy("{\"shape\":(2L,3L),\"fortran_order\":False,\"descr\":\"=f4\"}", data)).to_vector(),
            expected);
  EXPECT_EQ(loaded(npy_of("<f4", "(6,)", data)).shape(), (Shape{6}));
  EXPECT_EQ(loaded(npy_of("<f4", "()", bytes_of<float>({7}))).item(), 7);
}

TEST_F(NpyTest, ReadsFortranOrderAndOtherByteOrder) {
  const Tensor fortran = loaded(
      npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", bytes_of<float>({1, 4, 2, 5, 3, 6})));
  EXPECT_EQ(fortran.to_vector(), (std::vector<double>{1, 2, 3, 4, 5, 6}));
  EXPECT_TRUE(fortran.is_contiguous());
  EXPECT_EQ(
      loaded(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (3,), }", bytes_of<float>({1, 2, 3})))
          .to_vector(),
      (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(loaded(npy_of(">f4", "(2,)", std::string("\x3f\x80\0\0\x40\0\0\0", 8))).to_vector(),
            (std::vector<double>{1, 2}));
  EXPECT_EQ(loaded(npy_of(">i8", "(1,)", std::string("\0\0\0\0\0\0\1\2", 8))).item(), 258);
  EXPECT_EQ(loaded(npy_of(">u2", "(1,)", std::string("\xff\xfe", 2))).item(), 65534);
}

TEST_F(NpyTest, WidensWhatHasNoDtype) {
  EXPECT_EQ(loaded(npy_of("|i1", "(2,)", "\x80\x7f")).to_vector(), (std::vector<double>{-128, 127}));
  EXPECT_EQ(loaded(npy_of("<i2", "(1,)", bytes_of<int16_t>({-32768}))).item(), -32768);
  EXPECT_EQ(loaded(npy_of("<u2", "(1,)", bytes_of<uint16_t>({65535}))).dtype(), DType::i32);
  EXPECT_EQ(loaded(npy_of("<u4", "(1,)", bytes_of<uint32_t>({4294967295u}))).item(), 4294967295.0);
  EXPECT_EQ(loaded(npy_of("<u8", "(1,)", bytes_of<uint64_t>({1u}))).dtype(), DType::i64);
  EXPECT_EQ(loaded(npy_of("|b1", "(2,)", std::string("\0\1", 2))).to_vector(), (std::vector<double>{0, 1}));
  expect_refused(npy_of("<u8", "(2,)", bytes_of<uint64_t>({1u, ~uint64_t{0}})), "does not fit i64");
}

TEST_F(NpyTest, RefusesWhatIsNoPlainArray) {
  expect_refused(npy_of("|O", "(1,)", "12345678"), "never unpickled");
  expect_refused(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "1234"),
                 "structured");
  expect_refused(npy_of("<c8", "(1,)", "12345678"), "'<c8'");
  expect_refused(npy_of("<U3", "(1,)", std::string(12, 'x')), "'<U3'");
  expect_refused(npy_of("", "(1,)", "1234"), "elements of type ''");
  expect_refused(npy_of("f", "(1,)", "1234"), "elements of type");
  expect_refused(npy_of("!f4", "(1,)", "1234"), "byte order");
  expect_refused(npy_of("|f4", "(1,)", "1234"), "byte order");
}

TEST_F(NpyTest, RefusesWrongHeaders) {
  expect_refused("", "expected \"\\x93NUMPY\"");
  expect_refused("PK\3\4", "expected \"\\x93NUMPY\"");
  expect_refused(npy("{}", "", 4), "version 4.0");
  expect_refused(npy("{}", ""), "'descr' is missing");
  expect_refused(npy("{'descr': '<f4', 'fortran_order': False}", ""), "'shape' is missing");
  expect_refused(npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", "1234"),
                 "twice");
  expect_refused(npy("{'descr': '<f4', 'extra': 1, 'fortran_order': False, 'shape': ()}", "1234"),
                 "unknown key");
  expect_refused(npy("{'descr': '<f4', 'fortran_order': 0, 'shape': ()}", "1234"), "True or False");
  expect_refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1)}", "1234"), "comma");
  expect_refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "1234"), "whole number");
  expect_refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1 2)}", "1234"), "expected ','");
  expect_refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1)}", "1234"),
                 "more than 6 dimensions");
  expect_refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "1234"),
                 "2^63 - 1");
  expect_refused(npy("{'descr': '<f4, 'fortran_order': False, 'shape': ()}", "1234"), "array header");
  expect_refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': ()} x", "1234"), "end of the header");
  expect_refused(std::string("\x93NUMPY\2\0\xff\xff\xff\xff{}", 14),
                 "expected an array header of 4294967295 bytes");
}

TEST_F(NpyTest, RefusesWrongSizes) {
  expect_refused(npy_of("<f4", "(2, 3)", std::string(23, '\0')), "expected 24 bytes for (2, 3)");
  expect_refused(npy_of("<f4", "(2, 3)", std::string(25, '\0')), "found 25");
  expect_refused(npy_of("<f4", "(4611686018427387904,)", ""), "2^64 bytes");
  expect_refused(npy_of("<f4", "(4294967296, 1073741824)", ""), "2^64 bytes");
  expect_refused(npy_of("<f8", "(1000000000000,)", "x"), "found 1");  // refused before it is allocated
  EXPECT_EQ(loaded(npy_of("<f4", "(9223372036854775807, 0, 9223372036854775807)", "")).numel(), 0);
}

TEST_F(NpyTest, NpzWrittenIsWhatIsRead) {
  const std::map<std::string, Tensor> tensors{{"mu", random_tensor({7})},
                                              {"sigma", random_tensor({3, 3}, DType::f64)},
                                              {"folder/n", Tensor::full({}, 3, DType::i64)}};
  save_npz(path_, tensors);
  const auto read = load_npz(path_);
  ASSERT_EQ(read.size(), 3u);
  for (const auto& [name, tensor] : tensors) EXPECT_EQ(read.at(name).to_vector(), tensor.to_vector()) << name;
  save_npz(path_, {});
  EXPECT_TRUE(load_npz(path_).empty());
}

TEST_F(NpyTest, NpzReadsStoredAndDeflatedMembers) {
  const std::string array = npy_of("<f4", "(1000,)", std::string(4000, '\0'));
  write_bytes(path_, zip_of({{"a.npy", array},
                             {"b.npy", array, true},
                             {"c.npy", npy_of("<f4", "()", "\0\0\x80\x3f" + std::string()), false}})
                         .substr(0));
  EXPECT_THROW(load_npz(path_), Error);  // c is cut off by its zero bytes
  write_bytes(path_, zip_of({{"a.npy", array}, {"b.npy", array, true}}));
  const auto read = load_npz(path_);
  EXPECT_EQ(read.at("a").shape(), (Shape{1000}));
  EXPECT_EQ(read.at("b").to_vector(), std::vector<double>(1000, 0));
}

TEST_F(NpyTest, NpzRefusesHostileArchives) {
  const std::string array = npy_of("|u1", "(4,)", "abcd");
  const std::string valid = zip_of({{"a.npy", array}});
  const size_t central = valid.size() - 22 - 46 - 5, end = valid.size() - 22;
  const auto changed = [&](size_t at, std::string bytes) {
    return std::string(valid).replace(at, bytes.size(), bytes);
  };
  expect_npz_refused("", "no ZIP archive");
  expect_npz_refused("PK\3\4 and nothing else, though it is long enough", "no ZIP archive");
  expect_npz_refused(zip_of({{"a.npy", array}, {"a.npy", array}}), "twice");
  expect_npz_refused(zip_of({{"readme.txt", "x"}}), "not an .npy array");
  expect_npz_refused(changed(central + 8, "\1"), "encrypted");
  expect_npz_refused(changed(central + 10, "\x0c"), "compression method 12");
  expect_npz_refused(changed(central + 16, "abcd"), "checksum");
  expect_npz_refused(changed(central + 20, std::string("\xff\xff\0\0", 4)), "reaches beyond");
  expect_npz_refused(changed(central + 24, std::string("\xff\xff\0\0", 4)), "promises 65535 bytes");
  expect_npz_refused(changed(central + 42, std::string("\xff\xff\0\0", 4)), "the file ends at byte");
  expect_npz_refused(changed(central + 42, std::string("\1\0\0\0", 4)), "local header of 'a.npy'");
  expect_npz_refused(changed(end + 10, std::string("\xff\xff", 2)), "split");
  expect_npz_refused(changed(end + 8, std::string("\2\0\2\0", 4)), "2 members do not fit");
  expect_npz_refused(changed(end + 16, std::string("\xff\xff\xff\x7f", 4)), "does not fit before");
  // A deflated member that promises far more than it can hold.
  std::string bomb = zip_of({{"a.npy", npy_of("|u1", "(100000,)", std::string(100000, 'a')), true}});
  const size_t bomb_central = bomb.size() - 22 - 46 - 5;
  expect_npz_refused(std::string(bomb).replace(bomb_central + 24, 4, "\xff\xff\xff\x7f"),
                     "promises 2147483647 bytes");
  expect_npz_refused(std::string(bomb).replace(bomb_central + 24, 4, std::string("\1\0\0\0", 4)),
                     "does not inflate");
}

TEST_F(NpyTest, SurvivesDamage) {
  expect_survives_damage(npy_of("<f4", "(2, 3)", std::string(24, '\1')), ".npy",
                         [](const std::string& p) { load_npy(p); });
  const std::string array = npy_of("<f4", "(20,)", std::string(80, '\1'));
  const auto read = [](const std::string& p) { load_npz(p); };
  expect_survives_damage(zip_of({{"a.npy", array}, {"b.npy", array, true}}), ".npz", read);
  save_npz(path_, {{"x", random_tensor({2})}});
  expect_survives_damage(read_bytes(path_), ".npz", read);
}

}  // namespace
}  // namespace tw
