# SPDX-License-Identifier: LGPL-2.1-or-later
"""fit_erf.py - prints the polynomials by which the vector kernels compute erf.

    python models/fit_erf.py

Near 0, erf(x) = x P(x^2) for |x| <= 1. Beyond, erfc(|x|) = e^(-x^2) t Q(t) with t = 1 / (1 + |x| / 2), up to
|x| = 9.3, where erfc leaves single precision. Both are fitted at Chebyshev nodes, weighted for the relative error,
and rounded to single precision; the error of the rounded polynomials, evaluated in double, is printed beside them.
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


def erfcx(x):
    """e^(x^2) erfc(x) for x >= 1, by its continued fraction."""
    value = np.zeros_like(x)
    for k in range(400, 0, -1):
        value = k / 2 / (x + value)
    return 1 / (math.sqrt(math.pi) * (x + value))


def main():
    x = nodes(1e-3, 1, 400)
    near = np.array([math.erf(v) / v for v in x])
    show("P(x^2)", fit(x * x, near, 7), x * x, near)
    t = nodes(1 / (1 + 9.3 / 2), 1 / (1 + 1 / 2), 400)
    far = erfcx(2 / t - 2) / t
    show("Q(t)", fit(t, far, 8), t, far)


if __name__ == "__main__":
    main()
