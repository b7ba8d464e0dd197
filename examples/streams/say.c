/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "say.h"

#include <stdio.h>

void say(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
}
