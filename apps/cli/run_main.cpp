#include "apps/cli/run_main.h"

#include <filesystem>
#include <iostream>
#include <new>
#include <nlohmann/json.hpp>

#include "tensor/error.h"

namespace tw {

namespace {
int code_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage:
      return exit_usage;
    case ErrorKind::numeric:
      return exit_numeric;
    case ErrorKind::data:
    case ErrorKind::memory:
      break;
  }
  return exit_data;
}
}  // namespace

int run_main(const char* program, const std::function<int()>& body) {
  const auto report = [&](const std::string& what, int code) {
    std::cout.flush();
    std::cerr << program << ": " << what << std::endl;
    return code;
  };
  try {
    const int code = body();
    std::cout.flush();
    if (!std::cout) return report("standard output cannot be written", exit_data);
    return code;
  } catch (const Error& error) {
    return report(error.what(), code_of(error.kind()));
  } catch (const std::filesystem::filesystem_error& error) {
    return report(error.path1().string() + ": " + error.code().message(), exit_data);
  } catch (const nlohmann::json::exception& error) {
    return report(std::string("malformed JSON: ") + error.what(), exit_data);
  } catch (const std::bad_alloc&) {
    return report("out of memory", exit_data);
  } catch (const std::exception& error) {
    return report(std::string("internal error: ") + error.what(), exit_internal);
  }
}

}  // namespace tw
