// n = r0 r1 ... ; a transform of size r m is r transforms of size m, of the elements j, j + r, j + 2r, ...,
// and then m butterflies of r with factors e^(-2 pi i j k / (r m)) (Cooley & Tukey 1965, decimation in time).
// Put element k at its digits reversed, and every level works in place.
//
// A prime factor above 31 makes it a convolution (Bluestein 1970): with jk = (j^2 + k^2 - (k - j)^2) / 2 and
// b_k = e^(-pi i k^2 / n),  X_k = b_k sum over j of (x_j b_j) conj b_(k-j).
#include "kernels/cpu/fft_plan.h"

#include <cmath>
#include <complex>
#include <map>
#include <memory>
#include <mutex>
#include <numbers>
#include <vector>

namespace tw::kernels {
namespace {

constexpr int64_t largest_radix = 31;

// e^(-2 pi i j / n), to the last bit where it is 1, -1, i or -i.
std::complex<double> root(int64_t j, int64_t n) {
  j %= n;
  if (4 * j % n == 0) {
    constexpr std::complex<double> quarters[] = {{1, 0}, {0, -1}, {-1, 0}, {0, 1}};
    return quarters[4 * j / n];
  }
  const double angle = -2 * std::numbers::pi * static_cast<double>(j) / static_cast<double>(n);
  return {std::cos(angle), std::sin(angle)};
}

// The radices of n, the outermost first; what is left of n beside them is returned by `rest`. Fours and
// eights are outside and inside as far as there are two, where they are done on the way in and out.
std::vector<int> factors(int64_t n, int64_t& rest) {
  int twos = 0;
  for (; n % 2 == 0; n /= 2) ++twos;
  std::vector<int> even, radices;
  for (; twos >= 3 && twos != 4; twos -= 3) even.push_back(8);  // 16 is 4 4
  for (; twos >= 2; twos -= 2) even.push_back(4);
  if (twos) even.push_back(2);
  const size_t outside = even.size() >= 2 ? 1 : 0;
  if (outside) radices.push_back(even[0]);
  for (int64_t p = largest_radix; p >= 3; p -= 2)
    while (n % p == 0 && (p % 3 || p == 3) && (p % 5 || p == 5))
      radices.push_back(static_cast<int>(p)), n /= p;
  radices.insert(radices.end(), even.begin() + static_cast<std::ptrdiff_t>(outside), even.end());
  rest = n;
  return radices;
}

template <class T>
struct InPlace {
  std::vector<int> radices;
  std::vector<std::vector<T>> twiddle_numbers, root_numbers;
  std::vector<const T*> twiddles, roots;
  std::vector<int32_t> position, source;
  FftTables<T> tables;

  explicit InPlace(int64_t n) {
    int64_t rest = 1;
    radices = factors(n, rest);
    position.resize(static_cast<size_t>(n));
    for (int64_t k = 0; k < n; ++k) {
      int64_t index = k, size = n, at = 0;
      for (const int r : radices) {
        size /= r;
        at += index % r * size;
        index /= r;
      }
      position[static_cast<size_t>(k)] = static_cast<int32_t>(at);
    }
    const int innermost = radices.empty() ? 1 : radices.back();
    source.resize(static_cast<size_t>(n / innermost));
    for (int64_t k = 0; k < n / innermost; ++k)
      source[static_cast<size_t>(position[static_cast<size_t>(k)] / innermost)] = static_cast<int32_t>(k);
    int64_t size = n;
    for (const int r : radices) {
      const int64_t m = size / r;
      auto& twiddle = twiddle_numbers.emplace_back();
      for (int64_t k = 0; k < m; ++k)
        for (int64_t j = 1; j < r; ++j) push(twiddle, root(j * k, size));
      auto& odd = root_numbers.emplace_back();
      for (int j = 0; j < r; ++j) odd.push_back(static_cast<T>(root(j, r).real()));
      for (int j = 0; j < r; ++j) odd.push_back(static_cast<T>(-root(j, r).imag()));
      size = m;
    }
    for (const auto& numbers : twiddle_numbers) twiddles.push_back(numbers.data());
    for (const auto& numbers : root_numbers) roots.push_back(numbers.data());
    tables = {n,
              static_cast<int>(radices.size()),
              radices.data(),
              twiddles.data(),
              roots.data(),
              position.data(),
              source.data()};
  }
  InPlace(const InPlace&) = delete;

  static void push(std::vector<T>& to, std::complex<double> value) {
    to.push_back(static_cast<T>(value.real()));
    to.push_back(static_cast<T>(value.imag()));
  }
};

// The spectrum of Bluestein's chirp, in f64 by the recursion that the tables describe.
std::vector<std::complex<double>> transformed(const std::vector<std::complex<double>>& x) {
  const auto n = static_cast<int64_t>(x.size());
  if (n == 1) return x;
  int64_t r = 2;
  while (n % r) ++r;
  const int64_t m = n / r;
  std::vector<std::complex<double>> y(x.size()), part(static_cast<size_t>(m));
  for (int64_t j = 0; j < r; ++j) {
    for (int64_t k = 0; k < m; ++k) part[static_cast<size_t>(k)] = x[static_cast<size_t>(j + k * r)];
    part = transformed(part);
    for (int64_t k = 0; k < n; ++k)
      y[static_cast<size_t>(k)] += root(j * k, n) * part[static_cast<size_t>(k % m)];
  }
  return y;
}

// The shortest length from `least` on whose factors are 2, 3 and 5.
int64_t smooth_length(int64_t least) {
  for (int64_t n = least;; ++n) {
    int64_t rest = n;
    for (const int p : {2, 3, 5})
      while (rest % p == 0) rest /= p;
    if (rest == 1) return n;
  }
}

template <class T>
struct Line {
  std::unique_ptr<InPlace<T>> in_place;
  std::vector<T> chirp, spectrum, halves;
  FftLine<T> line;

  Line(int64_t length, bool real) {
    const bool packed = real && length % 2 == 0;
    const int64_t n = line.n = packed ? length / 2 : length;
    int64_t rest = 1;
    factors(n, rest);
    if (rest > 1)
      convolve(n, smooth_length(2 * n - 1));
    else
      in_place = std::make_unique<InPlace<T>>(n);
    line.in_place = in_place->tables;
    if (!packed) return;
    for (int64_t k = 0; k <= n; ++k) InPlace<T>::push(halves, root(k, 2 * n));
    line.halves = halves.data();
  }

  void convolve(int64_t n, int64_t m) {
    std::vector<std::complex<double>> conjugate(static_cast<size_t>(m));
    for (int64_t k = 0; k < n; ++k) {
      const std::complex<double> b = root(k * k % (2 * n), 2 * n);
      InPlace<T>::push(chirp, b);
      conjugate[static_cast<size_t>(k)] = conjugate[static_cast<size_t>((m - k) % m)] = std::conj(b);
    }
    for (const std::complex<double> value : transformed(conjugate))
      InPlace<T>::push(spectrum, value / static_cast<double>(m));
    in_place = std::make_unique<InPlace<T>>(m);
    line.chirp = chirp.data();
    line.spectrum = spectrum.data();
  }
};

}  // namespace

template <class T>
const FftLine<T>& fft_line(int64_t length, bool real) {
  static std::mutex mutex;
  static std::map<std::pair<int64_t, bool>, std::unique_ptr<Line<T>>> lines;
  const std::lock_guard lock(mutex);
  std::unique_ptr<Line<T>>& line = lines[{length, real}];
  if (!line) line = std::make_unique<Line<T>>(length, real);
  return line->line;
}

template const FftLine<float>& fft_line(int64_t, bool);
template const FftLine<double>& fft_line(int64_t, bool);

const void* fft_line(int64_t length, bool real, DType dtype) {
  if (dtype == DType::f64) return &fft_line<double>(length, real);
  return &fft_line<float>(length, real);
}

}  // namespace tw::kernels
