#pragma once
// The same view of glibc's types in every C module, or Swift finds two that differ.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <zstd.h>
#include <zstd_errors.h>
