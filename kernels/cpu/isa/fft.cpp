// Lines side by side: one lane each, so that a transform of many lines is a transform of vectors.
//
// Where numbers of neighbouring lines lie side by side (the axis h; channels) they are loaded as they are;
// rows of few channels are turned in registers on their way into the scratch memory and out of it. An even
// real line of N numbers is a complex one of N / 2, x[2k] + i x[2k+1], whose spectrum Z is taken apart:
//   X[k] = E - i w^k D,   E = (Z[k] + conj Z[n-k]) / 2,   D = (Z[k] - conj Z[n-k]) / 2,   n = N / 2
// with w = e^(-2 pi i / N), and back by Z[k] = E' + i conj(w^k) D', E' and D' the same of X (without halves).
// A line's arithmetic does not depend on the lines beside it. 256 x 256 complex f32 numbers take 0.105 ms on
// one thread with AVX-512 (docs/handbook/fft.md).
#include "kernels/cpu/isa/fft.h"

#include <algorithm>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/isa/fft_butterflies.h"
#include "kernels/cpu/isa/row.h"
#include "kernels/cpu/isa/transpose.h"

namespace tw::kernels {
namespace {

using TW_ISA::Complex;
using TW_ISA::Vec;

// The even lanes of a and b, then the odd ones; and back.
template <class T>
TW_INLINE Complex<T> apart(Vec<T> a, Vec<T> b) {
  using V = Vec<T>;
  const auto all = std::make_integer_sequence<int, V::lanes>();
  const auto even = TW_ISA::lane_numbers<V>([](auto l) { return 2 * l; }, all);
  const auto odd = TW_ISA::lane_numbers<V>([](auto l) { return 2 * l + 1; }, all);
  return {__builtin_shuffle(a.native, b.native, even), __builtin_shuffle(a.native, b.native, odd)};
}
template <class T>
TW_INLINE void together(Complex<T> z, Vec<T>& a, Vec<T>& b) {
  using V = Vec<T>;
  constexpr int lanes = V::lanes;
  const auto all = std::make_integer_sequence<int, lanes>();
  const auto low = TW_ISA::lane_numbers<V>([](auto l) { return l / 2 + l % 2 * lanes; }, all);
  const auto high = TW_ISA::lane_numbers<V>([](auto l) { return l / 2 + lanes / 2 + l % 2 * lanes; }, all);
  a = __builtin_shuffle(z.re.native, z.im.native, low);
  b = __builtin_shuffle(z.re.native, z.im.native, high);
}

// Up to `lanes` lines that lie side by side in memory.
template <class T>
struct Adjacent {
  const T* from;  // element 0 of the first line
  T* to;
  int64_t inner, count;

  TW_INLINE Complex<T> complex(int64_t k) const {
    const T* at = from + k * inner * 2;
    if (count == Vec<T>::lanes) return apart(Vec<T>::load(at), Vec<T>::load(at + Vec<T>::lanes));
    const int64_t rest = std::max<int64_t>(0, 2 * count - Vec<T>::lanes);
    const Vec<T> first = TW_ISA::load<Vec<T>>(at, 2 * count);
    return apart(first, rest ? Vec<T>::load(at + Vec<T>::lanes, rest) : Vec<T>(0));
  }
  TW_INLINE Vec<T> real(int64_t k) const { return TW_ISA::load<Vec<T>>(from + k * inner, count); }
  TW_INLINE void put(int64_t k, Complex<T> z) const {
    Vec<T> a, b;
    together(z, a, b);
    T* at = to + k * inner * 2;
    TW_ISA::store(a, at, 2 * count);
    if (2 * count > Vec<T>::lanes) TW_ISA::store(b, at + Vec<T>::lanes, 2 * count - Vec<T>::lanes);
  }
  TW_INLINE void put(int64_t k, Vec<T> v) const { TW_ISA::store(v, to + k * inner, count); }
};

// One channel of rows that have been turned: every number of a row is a vector.
template <class T>
struct Turned {
  const T* from;  // element 0 of the channel
  T* to;
  int64_t inner;

  TW_INLINE Complex<T> complex(int64_t k) const {
    return Complex<T>::load(from + k * inner * 2 * Vec<T>::lanes);
  }
  TW_INLINE Vec<T> real(int64_t k) const { return Vec<T>::load(from + k * inner * Vec<T>::lanes); }
  TW_INLINE void put(int64_t k, Complex<T> z) const { z.store(to + k * inner * 2 * Vec<T>::lanes); }
  TW_INLINE void put(int64_t k, Vec<T> v) const { v.store(to + k * inner * Vec<T>::lanes); }
};

template <class T>
TW_INLINE Complex<T> swapped(Complex<T> z) {
  return {z.im, z.re};
}

// The transform of one line for each lane, from read(k) to write(k, z). The other direction is this one with
// real and imaginary parts exchanged.
template <class T>
struct Buffer {
  static constexpr int64_t pair = 2 * Vec<T>::lanes;
  const FftLine<T>& line;
  T *numbers, *second;  // second: for a convolution

  Buffer(const FftLine<T>& l, T* memory)
      : line(l), numbers(memory), second(memory + l.in_place.length * pair) {}

  template <class Read, class Write>
  TW_INLINE void run(const Read& read, const Write& write) const {
    const FftTables<T>& t = line.in_place;
    if (!line.chirp) return TW_ISA::transform(t, numbers, read, write);
    for (int64_t k = 0; k < line.n; ++k)
      read(k).times(line.chirp + 2 * k).store(numbers + t.position[k] * pair);
    for (int64_t k = line.n; k < t.length; ++k)
      Complex<T>{Vec<T>(0), Vec<T>(0)}.store(numbers + t.position[k] * pair);
    TW_ISA::transform(t, numbers);
    for (int64_t k = 0; k < t.length; ++k)
      swapped(Complex<T>::load(numbers + k * pair).times(line.spectrum + 2 * k))
          .store(second + t.position[k] * pair);
    TW_ISA::transform(t, second);
    for (int64_t k = 0; k < line.n; ++k)
      write(k, swapped(Complex<T>::load(second + k * pair)).times(line.chirp + 2 * k));
  }
};

template <bool inverse, class T, class Io>
void complex_lines(const FftPass& pass, const Buffer<T>& buffer, const Io& io) {
  const int64_t n = pass.length, wraps = n - pass.shift;
  const Vec<T> scale(static_cast<T>(pass.scale));
  const auto at = [&](int64_t k) __attribute__((always_inline)) {
    return k < wraps ? k + pass.shift : k - wraps;
  };
  buffer.run(
      [&](int64_t k) __attribute__((always_inline)) {
        const Complex<T> z = io.complex(at(k));
        return inverse ? swapped(z) : z;
      },
      [&](int64_t k, Complex<T> z) __attribute__((always_inline)) {
        z = z.scaled(scale);
        io.put(at(k), inverse ? swapped(z) : z);
      });
}

template <class T, class Io>
void to_half(const FftPass& pass, const Buffer<T>& buffer, const Io& io) {
  const FftLine<T>& line = buffer.line;
  const int64_t length = pass.length, n = line.n, pair = Buffer<T>::pair;
  T* z = buffer.numbers;
  buffer.run(
      [&](int64_t k) __attribute__((always_inline)) {
        if (line.halves) return Complex<T>{io.real(2 * k), io.real(2 * k + 1)};
        return Complex<T>{io.real(k), Vec<T>(0)};
      },
      [&](int64_t k, Complex<T> value) __attribute__((always_inline)) { value.store(z + k * pair); });
  for (int64_t k = 0; k <= length / 2; ++k) {
    const bool stands_for_two = k > 0 && 2 * k < length;
    const double factor = pass.scale * (stands_for_two ? pass.pair : 1);
    Complex<T> value = Complex<T>::load(z + (k < n ? k : 0) * pair);
    if (line.halves) {
      const Complex<T> other = Complex<T>::load(z + (k > 0 ? n - k : 0) * pair);
      const Complex<T> even{value.re + other.re, value.im - other.im};
      const Complex<T> odd = Complex<T>{value.re - other.re, value.im + other.im}.times(line.halves + 2 * k);
      value = even + odd.times_minus_i();
    }
    io.put(k, value.scaled(Vec<T>(static_cast<T>(line.halves ? factor / 2 : factor))));
  }
}

template <class T, class Io>
void from_half(const FftPass& pass, const Buffer<T>& buffer, const Io& io) {
  const FftLine<T>& line = buffer.line;
  const int64_t length = pass.length, n = line.n;
  const Vec<T> scale(static_cast<T>(pass.scale));
  const auto stands_alone = [&](int64_t k) __attribute__((always_inline)) {
    return k == 0 || 2 * k == length;
  };
  const auto column = [&](int64_t k) __attribute__((always_inline)) {
    const Complex<T> z = io.complex(k);
    return Complex<T>{z.re, stands_alone(k) ? Vec<T>(0) : z.im};
  };
  const auto read = [&](int64_t k) __attribute__((always_inline)) {
    const Vec<T> pair(static_cast<T>(stands_alone(k) ? 1 : pass.pair));
    if (line.halves) {  // column n - k has the same factor
      const Complex<T> z = column(k), other = column(n - k);
      const Complex<T> even{z.re + other.re, z.im - other.im};
      const Complex<T> difference{z.re - other.re, z.im + other.im};
      const T conjugate[2] = {line.halves[2 * k], -line.halves[2 * k + 1]};
      return swapped((even - difference.times(conjugate).times_minus_i()).scaled(pair));
    }
    const Complex<T> z = column(2 * k <= length ? k : length - k);
    return swapped(Complex<T>{z.re, 2 * k <= length ? z.im : -z.im}.scaled(pair));
  };
  buffer.run(
      read, [&](int64_t k, Complex<T> z) __attribute__((always_inline)) {
        if (line.halves) {
          io.put(2 * k, z.im * scale);
          io.put(2 * k + 1, z.re * scale);
        } else {
          io.put(k, z.im * scale);
        }
      });
}

template <class T, class Io>
TW_INLINE void lines(const FftPass& pass, const Buffer<T>& buffer, const Io& io) {
  switch (pass.kind) {
    case FftKind::forward:
      return complex_lines<false>(pass, buffer, io);
    case FftKind::inverse:
      return complex_lines<true>(pass, buffer, io);
    case FftKind::to_half:
      return to_half(pass, buffer, io);
    case FftKind::from_half:
      return from_half(pass, buffer, io);
  }
}

// Numbers of T in one line of x or y, of one channel.
int64_t x_numbers(const FftPass& p) {
  return p.kind == FftKind::to_half     ? p.length
         : p.kind == FftKind::from_half ? p.length / 2 * 2 + 2
                                        : 2 * p.length;
}
int64_t y_numbers(const FftPass& p) {
  return p.kind == FftKind::to_half     ? p.length / 2 * 2 + 2
         : p.kind == FftKind::from_half ? p.length
                                        : 2 * p.length;
}

// Rows of `columns` numbers that lie `stride` apart become columns; rows that are missing are zero.
template <class T>
void turn(const T* from, int64_t rows, int64_t columns, int64_t stride, T* to) {
  using V = Vec<T>;
  int64_t c = 0;
  for (; rows == V::lanes && c + V::lanes <= columns; c += V::lanes) {
    V block[V::lanes];
#pragma GCC unroll 16
    for (int i = 0; i < V::lanes; ++i) block[i] = V::load(from + i * stride + c);
    TW_ISA::transpose(block);
#pragma GCC unroll 16
    for (int i = 0; i < V::lanes; ++i) block[i].store(to + (c + i) * V::lanes);
  }
  for (; c < columns; ++c)
    for (int64_t i = 0; i < V::lanes; ++i) to[c * V::lanes + i] = i < rows ? from[i * stride + c] : T(0);
}
template <class T>
void turn_back(const T* from, int64_t rows, int64_t columns, int64_t stride, T* to) {
  using V = Vec<T>;
  int64_t c = 0;
  for (; rows == V::lanes && c + V::lanes <= columns; c += V::lanes) {
    V block[V::lanes];
#pragma GCC unroll 16
    for (int i = 0; i < V::lanes; ++i) block[i] = V::load(from + (c + i) * V::lanes);
    TW_ISA::transpose(block);
#pragma GCC unroll 16
    for (int i = 0; i < V::lanes; ++i) block[i].store(to + i * stride + c);
  }
  for (; c < columns; ++c)
    for (int64_t i = 0; i < rows; ++i) to[i * stride + c] = from[c * V::lanes + i];
}

template <class T>
struct Layout {
  static constexpr int64_t lanes = Vec<T>::lanes;
  bool adjacent;
  int64_t per_outer, groups, buffer_numbers, turned_numbers;

  explicit Layout(const FftPass& p) {
    const auto& line = *static_cast<const FftLine<T>*>(p.line);
    adjacent = 2 * p.inner >= lanes;
    per_outer = (p.inner + lanes - 1) / lanes;
    groups = adjacent ? p.outer * per_outer : (p.outer + lanes - 1) / lanes;
    buffer_numbers = line.in_place.length * 2 * lanes * (line.chirp ? 2 : 1);
    turned_numbers = adjacent ? 0 : (x_numbers(p) + y_numbers(p)) * p.inner * lanes;
  }
};

template <class T>
void run_typed(const FftPass& p, T* scratch, int64_t begin, int64_t end) {
  constexpr int64_t lanes = Vec<T>::lanes;
  const Layout<T> layout(p);
  const Buffer<T> buffer(*static_cast<const FftLine<T>*>(p.line), scratch);
  const T* x = static_cast<const T*>(p.x);
  T* y = static_cast<T*>(p.y);
  const int64_t x_row = x_numbers(p) * p.inner, y_row = y_numbers(p) * p.inner;
  const int64_t x_each = p.kind == FftKind::to_half ? 1 : 2, y_each = p.kind == FftKind::from_half ? 1 : 2;
  for (int64_t group = begin; group < end; ++group) {
    if (layout.adjacent) {
      const int64_t outer = group / layout.per_outer, first = group % layout.per_outer * lanes;
      lines(p, buffer,
            Adjacent<T>{x + outer * x_row + first * x_each, y + outer * y_row + first * y_each, p.inner,
                        std::min(lanes, p.inner - first)});
      continue;
    }
    const int64_t first = group * lanes, rows = std::min(lanes, p.outer - first);
    T *turned = scratch + layout.buffer_numbers, *results = turned + x_row * lanes;
    turn(x + first * x_row, rows, x_row, x_row, turned);
    for (int64_t c = 0; c < p.inner; ++c)
      lines(p, buffer, Turned<T>{turned + c * x_each * lanes, results + c * y_each * lanes, p.inner});
    turn_back(results, rows, y_row, y_row, y + first * y_row);
  }
}

int64_t groups(const FftPass& p) {
  return p.dtype == DType::f64 ? Layout<double>(p).groups : Layout<float>(p).groups;
}

int64_t scratch_bytes(const FftPass& p) {
  const auto bytes = [&]<class T>(T) {
    const Layout<T> layout(p);
    return ((layout.buffer_numbers + layout.turned_numbers) * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
  };
  return p.dtype == DType::f64 ? bytes(double{}) : bytes(float{});
}

void run(const FftPass& p, void* scratch, int64_t begin, int64_t end) {
  p.dtype == DType::f64 ? run_typed(p, static_cast<double*>(scratch), begin, end)
                        : run_typed(p, static_cast<float*>(scratch), begin, end);
}

}  // namespace

template <>
const FftKernels& kernels_of<FftKernels, Isa::TW_ISA>() {
  static const FftKernels kernels{groups, scratch_bytes, run};
  return kernels;
}

}  // namespace tw::kernels
