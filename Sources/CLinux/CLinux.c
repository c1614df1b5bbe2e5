#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
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

int ballast_peer_credentials(int descriptor, int32_t *process, uint32_t *user, uint32_t *group) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return -1;
    *process = peer.pid;
    *user = peer.uid;
    *group = peer.gid;
    return 0;
}

long ballast_peer_groups(int descriptor, uint32_t *groups, size_t capacity) {
    socklen_t size = (socklen_t)(capacity * sizeof *groups);
    // The kernel says in `size` how much it has, also where that is too much.
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, groups, &size) != 0 && errno != ERANGE) return -1;
    return (long)(size / sizeof *groups);
}

int ballast_accept(int descriptor) { return accept4(descriptor, NULL, NULL, SOCK_CLOEXEC); }

int ballast_event_descriptor(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

int ballast_sync_file_system(int descriptor) { return syncfs(descriptor); }

int ballast_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

int ballast_replace_descriptor(int descriptor, int target) { return dup3(descriptor, target, O_CLOEXEC); }

int ballast_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

static volatile int signal_descriptor = -1;

static void report_signal(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    // Where the pipe is full there is more to read than anybody needs.
    ssize_t ignored = write(signal_descriptor, &byte, 1);
    (void)ignored;
    errno = saved;
}

int ballast_report_signals(const int *numbers, size_t count, int descriptor) {
    // A handler must not wait for whoever reads.
    if (descriptor >= 0) {
        int flags = fcntl(descriptor, F_GETFL);
        if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) != 0) return -1;
        signal_descriptor = descriptor;
    }
    for (size_t index = 0; index < count; index++) {
        struct sigaction action, old;
        if (sigaction(numbers[index], NULL, &old) != 0) return -1;
        if (old.sa_handler == SIG_IGN) continue;
        memset(&action, 0, sizeof action);
        sigemptyset(&action.sa_mask);
        action.sa_flags = SA_RESTART;
        action.sa_handler = descriptor < 0 ? SIG_DFL : report_signal;
        if (sigaction(numbers[index], &action, NULL) != 0) return -1;
    }
    // Only now, or a signal that comes in between would be taken and lost.
    signal_descriptor = descriptor;
    return 0;
}

int ballast_spread_subdirectories(int descriptor) {
    int flags;
    if (ioctl(descriptor, FS_IOC_GETFLAGS, &flags) != 0) return -1;
    flags |= FS_TOPDIR_FL;
    return ioctl(descriptor, FS_IOC_SETFLAGS, &flags);
}

int ballast_remove_attribute(int descriptor, const char *name) { return fremovexattr(descriptor, name); }

const void *ballast_find(const void *haystack, size_t size, const void *needle, size_t needle_size) {
    return memmem(haystack, size, needle, needle_size);
}

typedef int (*address_call)(int, const struct sockaddr *, socklen_t);

// A stream socket for which `call`, bind(2) or connect(2), has taken the address `path`.
static int unix_socket(const char *path, address_call call) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t count = strlen(path);
    if (count >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, count);
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    if (call(descriptor, (struct sockaddr *)&address, sizeof address) == 0) return descriptor;
    int problem = errno;
    close(descriptor);
    errno = problem;
    return -1;
}

int ballast_connect_unix(const char *path) { return unix_socket(path, connect); }

int ballast_listen_unix(const char *path) {
    int descriptor = unix_socket(path, bind);
    if (descriptor < 0 || listen(descriptor, SOMAXCONN) == 0) return descriptor;
    int problem = errno;
    close(descriptor);
    errno = problem;
    return -1;
}

int ballast_send_unix(const char *path, const void *bytes, size_t count) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address.sun_path) {
        errno = EINVAL;
        return -1;
    }
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') address.sun_path[0] = 0;
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    ssize_t sent = sendto(descriptor, bytes, count, MSG_NOSIGNAL, (struct sockaddr *)&address, size);
    int problem = errno;
    close(descriptor);
    errno = problem;
    return sent == (ssize_t)count ? 0 : -1;
}
