// Runs the project's binaries as processes, in a folder that is removed afterwards.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace tw {

inline std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "tw-test-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// A started binary; its output goes to files in `folder`.
class Program {
 public:
  Program(const TestFolder& folder, const std::string& name, const std::vector<std::string>& arguments)
      : out_(folder / (name + ".stdout")), err_(folder / (name + ".stderr")) {
    process_ = fork();
    if (process_ != 0) return;
    if (!freopen(out_.c_str(), "w", stdout) || !freopen(err_.c_str(), "w", stderr)) _exit(99);
    const std::string path = std::string(TW_BIN_DIR) + "/" + name;
    std::vector<char*> argv{const_cast<char*>(path.c_str())};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(path.c_str(), argv.data());
    _exit(98);
  }
  ~Program() {
    if (process_ > 0) signal_and_wait(SIGKILL);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // The exit code, or -signal.
  int wait() {
    int status = 0;
    waitpid(process_, &status, 0);
    process_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  void send(int signal_number) const { kill(process_, signal_number); }
  int signal_and_wait(int signal_number) {
    send(signal_number);
    return wait();
  }
  std::string output() const { return text_of(out_); }
  std::string errors() const { return text_of(err_); }

 private:
  std::filesystem::path out_, err_;
  pid_t process_ = 0;
};

struct Outcome {
  int code;
  std::string output, errors;
};

inline Outcome run_program(const TestFolder& folder, const std::string& name,
                           const std::vector<std::string>& arguments) {
  Program program(folder, name, arguments);
  const int code = program.wait();
  return {code, program.output(), program.errors()};
}

}  // namespace tw
