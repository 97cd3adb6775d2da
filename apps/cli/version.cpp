#include "apps/cli/version.h"

#include <sstream>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"

#ifndef TW_VERSION
#define TW_VERSION "unknown"
#endif
#ifndef TW_REVISION
#define TW_REVISION ""
#endif

namespace tw {

std::string version_text() {
  const std::string revision = TW_REVISION;
  return TW_VERSION + (revision.empty() ? std::string() : " (" + revision + ")");
}

std::string build_description() {
  std::ostringstream out;
  out << "tweedie " << version_text() << "\n"
      << "compiler " << __VERSION__ << "\n"
      << "device cpu, instruction set " << kernels::isa_name(kernels::active_isa()) << ", "
      << kernels::thread_count() << " threads\n";
  return out.str();
}

}  // namespace tw
