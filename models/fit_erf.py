# SPDX-License-Identifier: LGPL-2.1-or-later
"""fit_erf.py - prints the polynomial by which the vector kernels compute erf.

    python models/fit_erf.py

erfc(z) = e^(-z^2) t Q(t) with t = 1 / (1 + 0.3 z), for z from 0 to 9.3, where erfc leaves single precision. Q is fitted at
Chebyshev nodes, weighted for the relative error, and rounded to single precision; the error of the rounded polynomial,
evaluated in double, is printed beside it. Of 0.25, 0.3, 0.35, 0.4 and 0.5 in t, 0.3 lets degree 8 do.
"""
import math

import numpy as np


def nodes(low, high, count):
    return (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(count) + 0.5) / count)


def fit(x, y, degree):
    """Coefficients, lowest power first, of the polynomial with the least relative squares."""
    powers = x[:, None] ** np.arange(degree + 1)
    return np.linalg.lstsq(powers / y[:, None], np.ones(len(x)), rcond=None)[0].astype(np.float32)


def show(name, coefficients, x, y):
    error = np.abs(np.polynomial.polynomial.polyval(x, coefficients.astype(np.float64)) / y - 1).max()
    print(f"{name}, highest power first, relative error {error:.1e}:")
    print("   ", ", ".join(f"{c:.9g}f" for c in coefficients[::-1]))


def erfcx(z):
    """e^(z^2) erfc(z) for z >= 0, by its integral 2 / sqrt(pi) * int_0^inf e^(-u^2 - 2 z u) du, which has no cancellation."""
    u, weights = np.polynomial.legendre.leggauss(400)
    u, weights = 4 * (u + 1), 4 * weights
    return 2 / math.sqrt(math.pi) * (np.exp(-u * u - 2 * z[:, None] * u) @ weights)


def main():
    t = nodes(1 / (1 + 0.3 * 9.3), 1, 400)
    tail = erfcx((1 / t - 1) / 0.3) / t
    show("Q(t)", fit(t, tail, 8), t, tail)


if __name__ == "__main__":
    main()
