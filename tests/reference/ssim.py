#!/usr/bin/env python3
"""Constants of tests/diffusion/metric/ssim_test.cpp, from a direct (non-separable) SSIM written with NumPy only.

The 2-D window is slid over the image as in the definition of Wang et al. 2004; nothing is shared with the C++ code.
Run: python3 tests/reference/ssim.py
"""
import numpy as np


def image(h, w, c, kind):
    y, x, k = np.meshgrid(np.arange(h), np.arange(w), np.arange(c), indexing="ij")
    clean = np.sin(0.37 * x + 0.21 * y + k)
    return clean if kind == 0 else 0.8 * clean + 0.15 * np.cos(1.9 * x - 2.3 * y + 0.7 * k) + 0.05


def ssim(a, b, rng, window, sample):
    k = window.shape[0]
    c1, c2 = (0.01 * rng) ** 2, (0.03 * rng) ** 2
    factor = k * k / (k * k - 1.0) if sample else 1.0
    channels = []
    for c in range(a.shape[2]):
        values = []
        for y in range(a.shape[0] - k + 1):
            for x in range(a.shape[1] - k + 1):
                p, q = a[y:y + k, x:x + k, c], b[y:y + k, x:x + k, c]
                mp, mq = (window * p).sum(), (window * q).sum()
                vp = factor * (window * (p - mp) ** 2).sum()
                vq = factor * (window * (q - mq) ** 2).sum()
                cov = factor * (window * (p - mp) * (q - mq)).sum()
                values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
        channels.append(np.mean(values))
    return np.mean(channels)


offsets = np.arange(-5, 6)
gaussian = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
gaussian /= gaussian.sum()
uniform = np.full((7, 7), 1 / 49)
a, b = image(19, 23, 3, 0), image(19, 23, 3, 1)
print("gaussian 11x11, range 2:", repr(float(ssim(a, b, 2, gaussian, False))))
print("uniform 7x7, range 2:   ", repr(float(ssim(a, b, 2, uniform, True))))
print("psnr, range 2:          ", repr(float(10 * np.log10(4 / np.mean((a - b) ** 2)))))
