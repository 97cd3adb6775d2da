// tw::Error: the one exception of the library. Its text names the op or file, what was expected and what was
// found.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace tw {

// What went wrong, so that a binary can choose its exit code (2 usage, 3 data or format, 4 numeric failure).
enum class ErrorKind { usage, data, numeric, memory };

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  explicit Error(const std::string& message) : Error(ErrorKind::usage, message) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

namespace detail {
template <class... Parts>
std::string join(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}
}  // namespace detail

// fail("conv2d", "input has ", c, " channels, the weight expects ", k) throws Error "conv2d: input has ...".
template <class... Parts>
[[noreturn]] void fail(const char* where, const Parts&... parts) {
  throw Error(detail::join(where, ": ", parts...));
}

// The same for files: the message begins with the path and carries ErrorKind::data.
template <class... Parts>
[[noreturn]] void fail_data(const std::string& path, const Parts&... parts) {
  throw Error(ErrorKind::data, detail::join(path, ": ", parts...));
}

// Parts are only formatted when the check fails.
template <class... Parts>
void check(bool ok, const char* where, const Parts&... parts) {
  if (!ok) [[unlikely]]
    fail(where, parts...);
}

}  // namespace tw
