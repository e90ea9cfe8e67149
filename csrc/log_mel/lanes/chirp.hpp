// A transform whose size has large prime factors, as a circular convolution (Bluestein 1970):
//   X[k] = c[k] sum_n (x[n] c[n]) conj c[k - n],  c[n] = exp(-i pi n^2 / size).
// The convolution is done by real transforms of a smooth length, two for each complex one; the factor c[k] is not applied,
// as only |X| is wanted.
#pragma once

#include "log_mel/lanes/transform.hpp"

namespace clinaug::lanes::CLINAUG_LANES_SET {

static void chirp_power_spectrum(const Tables& tables, const Real* x, V* work, Prefetch& prefetch) {
  const Chirp& chirp = *tables.chirp;
  const Transform& transform = tables.transform;
  const Index length = transform.size;
  V *const a = work, *const b = work + length, *const c = work + 2 * length, *const d = work + 3 * length;
  spectrum(transform, chirp.cosine, x, transform.n_passes, 0, a);
  spectrum(transform, chirp.sine, x, transform.n_passes, 0, b);

  // (a + i b) times the chirp's spectrum, conjugated: the inverse transform is the forward one of the conjugate.
  const auto multiply = [&](Index k, V re, V im) {
    const Real h_re = chirp.spectrum[2 * k], h_im = chirp.spectrum[2 * k + 1];
    a[k] = h_re * re - h_im * im;
    b[k] = -(h_re * im + h_im * re);
  };
  multiply(0, a[0], b[0]);
  for (Index k = 1; 2 * k < length; ++k) {
    const Index mirrored = length - k;
    const V a_re = a[k], a_im = a[mirrored], b_re = b[k], b_im = b[mirrored];
    multiply(k, a_re - b_im, a_im + b_re);
    multiply(mirrored, a_re + b_im, b_re - a_im);
  }
  if (length % 2 == 0) multiply(length / 2, a[length / 2], b[length / 2]);

  spectrum(transform, chirp.natural, reinterpret_cast<const Real*>(a), transform.n_passes, 0, c);
  spectrum(transform, chirp.natural, reinterpret_cast<const Real*>(b), transform.n_passes, 0, d);
  prefetch.advance();
  a[0] = c[0] * c[0] + d[0] * d[0];
  for (Index k = 1; k < tables.n_slots; ++k) {
    const V re = c[k] - d[length - k], im = c[length - k] + d[k];
    a[k] = re * re + im * im;
  }
}

}  // namespace clinaug::lanes::CLINAUG_LANES_SET
