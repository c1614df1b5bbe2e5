#pragma once
// What Linux has and Swift's Glibc module does not: calls behind macros, and calls that glibc 2.36 does not wrap.
// The header includes nothing that Glibc has too, so that no type belongs to two modules.
#include <stddef.h>
#include <stdint.h>

// Size in bytes of the block device behind `descriptor`; 0 or -1 with errno.
int ballast_block_device_size(int descriptor, uint64_t *bytes);
// Size in bytes of its logical sectors; 0 or -1 with errno.
int ballast_block_device_sector_size(int descriptor, int *bytes);
// Writes back and drops the device's page cache, so that a read that follows comes from the medium; 0 or -1 with errno.
int ballast_block_device_drop_cache(int descriptor);

// openat2(2) with RESOLVE_IN_ROOT: `directory` is the root of every symbolic link on the way. A descriptor or -1 with errno.
int ballast_open_in_root(int directory, const char *path, int flags, unsigned mode);
// O_PATH, a flag of open(2) that Swift's module does not have.
static const int ballast_path_only = 010000000;

unsigned ballast_device_major(uint64_t device);
unsigned ballast_device_minor(uint64_t device);
uint64_t ballast_make_device(unsigned major, unsigned minor);

// llistxattr(2), lgetxattr(2), fsetxattr(2) and fremovexattr(2).
long ballast_list_attributes(const char *path, void *names, size_t size);
long ballast_get_attribute(const char *path, const char *name, void *value, size_t size);
int ballast_set_attribute(int descriptor, const char *name, const void *value, size_t size);
int ballast_remove_attribute(int descriptor, const char *name);

// copy_file_range(2): shares blocks where the file system can. Bytes copied, 0 at the end, or -1 with errno.
long ballast_copy_range(int from, int64_t *from_offset, int to, int64_t *to_offset, size_t count);

// SO_PEERCRED of a connected unix socket: who connected. 0 or -1 with errno.
int ballast_peer_credentials(int descriptor, int32_t *process, uint32_t *user, uint32_t *group);
// SO_PEERGROUPS: the peer's supplementary groups, at most `capacity` of them. How many it has, or -1 with errno.
long ballast_peer_groups(int descriptor, uint32_t *groups, size_t capacity);
// accept4(2) with SOCK_CLOEXEC.
int ballast_accept(int descriptor);
// eventfd(2), closed on exec, not blocking.
int ballast_event_descriptor(void);

// syncfs(2): returns when the whole file system of `descriptor` is on the medium; 0 or -1 with errno.
int ballast_sync_file_system(int descriptor);

// memfd_create(2) with MFD_CLOEXEC: an empty file in memory. A descriptor or -1 with errno.
int ballast_memory_file(const char *name);
// dup3(2) with O_CLOEXEC: `target` becomes what `descriptor` is. `target` or -1 with errno.
int ballast_replace_descriptor(int descriptor, int target);

// pipe2(2) with O_CLOEXEC, so that no other child inherits the ends; 0 or -1 with errno.
int ballast_pipe(int ends[2]);

// From its return on, each of the signals is written to `descriptor` as a byte, its number, and does nothing else; those that
// are ignored stay so. With -1 they do again what they do by default. 0 or -1 with errno.
int ballast_report_signals(const int *numbers, size_t count, int descriptor);

// Tells ext4 that the subdirectories of the directory `descriptor` have nothing to do with each other (chattr(1), 'T'), so that
// it spreads them over the disk. Other file systems refuse; 0 or -1 with errno.
int ballast_spread_subdirectories(int descriptor);

// memmem(3): where `needle` is in `haystack`, or a null pointer.
const void *ballast_find(const void *haystack, size_t size, const void *needle, size_t needle_size);

// A stream socket that is connected to the UNIX socket at `path`, closed on exec. A descriptor or -1 with errno.
int ballast_connect_unix(const char *path);
// A stream socket that listens at `path`, closed on exec. A descriptor or -1 with errno.
int ballast_listen_unix(const char *path);
// Sends a datagram to the UNIX socket at `path`, or the abstract one if it begins with '@'. 0 or -1 with errno.
int ballast_send_unix(const char *path, const void *bytes, size_t count);
// POLLRDHUP of poll(2), which glibc has for _GNU_SOURCE alone: the other side has closed its end.
static const short ballast_poll_peer_closed = 0x2000;
