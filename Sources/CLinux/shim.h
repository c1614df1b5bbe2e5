#pragma once
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

// ioctl request numbers are macros with casts, which Swift does not import.
static inline int ballast_block_device_size(int descriptor, uint64_t *bytes) {
    return ioctl(descriptor, BLKGETSIZE64, bytes);
}
static inline int ballast_block_device_sector_size(int descriptor, int *bytes) {
    return ioctl(descriptor, BLKSSZGET, bytes);
}
// Drops the device's page cache, so that a read that follows comes from the medium.
static inline int ballast_block_device_drop_cache(int descriptor) { return ioctl(descriptor, BLKFLSBUF, 0); }

// openat2(2) has no wrapper in glibc 2.36. RESOLVE_IN_ROOT makes `directory` the root of every symbolic link on the way.
static inline int ballast_open_in_root(int directory, const char *path, int flags, unsigned mode) {
    struct open_how how = {.flags = (uint64_t)flags, .mode = mode, .resolve = RESOLVE_IN_ROOT};
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}
static inline unsigned ballast_device_major(uint64_t device) { return major(device); }
static inline unsigned ballast_device_minor(uint64_t device) { return minor(device); }
static inline uint64_t ballast_make_device(unsigned device_major, unsigned device_minor) {
    return makedev(device_major, device_minor);
}
