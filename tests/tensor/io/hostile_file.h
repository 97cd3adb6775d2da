// Runs a reader over every truncation and every single-bit change of a small valid file. A change may go
// unnoticed (a flipped element is as good as the old one), but the outcome must be a result or an
// Error{data}: never a crash, another exception or an over-read (which the address sanitizer build finds).
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "tensor/error.h"
#include "tests/temporary_folder.h"

namespace tw {

template <class Reader>
void expect_survives_damage(const std::string& valid, const std::string& extension, Reader&& reader) {
  TemporaryFolder folder;
  const std::string path = folder.path("damaged" + extension);
  write_bytes(path, valid);
  ASSERT_NO_THROW(reader(path));
  const auto attempt = [&](const std::string& bytes, const std::string& what, bool must_fail) {
    write_bytes(path, bytes);
    try {
      reader(path);
      EXPECT_FALSE(must_fail) << what << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data) << what << ": " << error.what();
      EXPECT_EQ(std::string(error.what()).rfind(path, 0), 0u)
          << what << " does not name the file: " << error.what();
    } catch (const std::exception& error) {
      ADD_FAILURE() << what << " gave another exception: " << error.what();
    }
  };
  for (size_t n = 0; n < valid.size(); ++n)
    attempt(valid.substr(0, n), "truncation to " + std::to_string(n) + " bytes", true);
  attempt(valid + '\0', "a trailing byte", true);
  for (size_t i = 0; i < valid.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string bytes = valid;
      bytes[i] = static_cast<char>(bytes[i] ^ (1 << bit));
      attempt(bytes, "bit " + std::to_string(bit) + " of byte " + std::to_string(i), false);
    }
}

// Expects Error{data} that names the file and contains `text`.
template <class F>
void expect_data_error(F&& f, const std::string& path, const std::string& text) {
  try {
    f();
    ADD_FAILURE() << "no error, expected one with '" << text << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    const std::string message = error.what();
    EXPECT_NE(message.find(path), std::string::npos) << message;
    EXPECT_NE(message.find(text), std::string::npos) << "expected '" << text << "' in: " << message;
  }
}

}  // namespace tw
