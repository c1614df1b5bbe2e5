#define _GNU_SOURCE
#include "CLinux.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

int ballast_block_device_size(int descriptor, uint64_t *bytes) { return ioctl(descriptor, BLKGETSIZE64, bytes); }

int ballast_block_device_sector_size(int descriptor, int *bytes) { return ioctl(descriptor, BLKSSZGET, bytes); }

int ballast_block_device_drop_cache(int descriptor) { return ioctl(descriptor, BLKFLSBUF, 0); }

int ballast_open_in_root(int directory, const char *path, int flags, unsigned mode) {
    struct open_how how = {.flags = (uint64_t)flags, .mode = mode, .resolve = RESOLVE_IN_ROOT};
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

unsigned ballast_device_major(uint64_t device) { return major(device); }
unsigned ballast_device_minor(uint64_t device) { return minor(device); }
uint64_t ballast_make_device(unsigned device_major, unsigned device_minor) {
    return makedev(device_major, device_minor);
}

long ballast_list_attributes(const char *path, void *names, size_t size) { return llistxattr(path, names, size); }

long ballast_get_attribute(const char *path, const char *name, void *value, size_t size) {
    return lgetxattr(path, name, value, size);
}

int ballast_set_attribute(int descriptor, const char *name, const void *value, size_t size) {
    return fsetxattr(descriptor, name, value, size, 0);
}

long ballast_copy_range(int from, int64_t *from_offset, int to, int64_t *to_offset, size_t count) {
    return copy_file_range(from, from_offset, to, to_offset, count, 0);
}

int ballast_sync_file_system(int descriptor) { return syncfs(descriptor); }

int ballast_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }
