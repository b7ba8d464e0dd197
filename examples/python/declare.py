"""Writes the C source of the module palme._palme from the engine's header, so that the declarations are in one place.

python declare.py PALME_H OUT.c
"""

import re
import sys

import cffi


def declarations(header: str) -> str:
    """What cffi reads of the header: no comments, no directives but constants, none of C++."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    text = re.sub(r'extern "C" \{', "", text)
    constants = re.findall(r"^#define (PALME_[A-Z_]+) +[0-9]+", text, flags=re.MULTILINE)
    body = text[text.index("enum palme_status") : text.rindex("#ifdef __cplusplus")]
    body = re.sub(r"^#.*$", "", body, flags=re.MULTILINE).replace("PALME_API ", "")
    callbacks = """
extern "Python" void palme_python_log(void *, enum palme_log_level, const char *);
extern "Python" int palme_python_cancel(void *);
"""
    return "".join(f"#define {name} ...\n" for name in constants) + body + callbacks


def main() -> None:
    header, out = sys.argv[1:]
    builder = cffi.FFI()
    with open(header, encoding="utf-8") as file:
        builder.cdef(declarations(file.read()))
    builder.set_source("palme._palme", '#include "palme.h"\n')
    builder.emit_c_code(out)


if __name__ == "__main__":
    main()
