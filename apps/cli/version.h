// What this build is and what it runs on.
#pragma once

#include <string>

namespace tw {

std::string
version_text();  // "0.1.0 (3f2a1bc)": the project's version and, when known, the revision it was built from

// Several lines for version.txt and bug reports: version, compiler, instruction set in use, threads.
std::string build_description();

}  // namespace tw
