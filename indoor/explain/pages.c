/* Where large blocks of memory lie: an allocator that is loaded before the C library's own (LD_PRELOAD).

   indoor_pages() chooses, for the blocks that are taken from then on:
     0  the C library's allocator, as if this one were not here;
     1  kept: a freed block is kept for the next of its length, so that no page is mapped anew;
     2  shared: as kept, and all blocks lie, unit by unit, on the same few physical pages, which stay in the cache. The
        program computes the same instructions on the same addresses, and what it computes is rubbish.

   Shared are only blocks that a library of tensors asks for with an alignment (posix_memalign, aligned_alloc): what else a
   program keeps must stay what was written into it. */

#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define ROOM ((size_t)1 << 40) /* of addresses; nothing of it is memory before it is taken */
#define NUM_LISTS 256
#define MAX_HOLDERS 16

extern void *__libc_malloc(size_t);
extern void *__libc_memalign(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

struct block { /* in the page before a block's own */
    size_t length;
    int shared;
    int generation; /* of the choice that it was taken under */
    struct block *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char *room, *unused;
static struct block *kept[2][NUM_LISTS];
static int mode, generation, num_parts = 1, file = -1;
static size_t unit, threshold, num_bytes, file_bytes;
static struct { ElfW(Addr) begin, end; size_t least; } holders[MAX_HOLDERS];
static int num_holders;

static size_t pages_of(size_t bytes) { return (bytes + PAGE - 1) & ~(PAGE - 1); }

static struct block **list_of(size_t length, int shared) { return &kept[shared][(length / PAGE) % NUM_LISTS]; }

/* Remembers where a library's code lies if its path holds one of the names: `name=least bytes`, parted by commas. */
static int find_holder(struct dl_phdr_info *info, size_t size, void *names) {
    (void)size;
    for (const char *name = names; *name;) {
        size_t length = strcspn(name, "=");
        if (length && memmem(info->dlpi_name, strlen(info->dlpi_name), name, length))
            for (int i = 0; i < info->dlpi_phnum && num_holders < MAX_HOLDERS; i++)
                if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X)) {
                    holders[num_holders].begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
                    holders[num_holders].end = holders[num_holders].begin + info->dlpi_phdr[i].p_memsz;
                    holders[num_holders].least = strtoull(name + length + 1, 0, 10);
                    num_holders++;
                }
        name += strcspn(name, ",");
        name += *name == ',';
    }
    return 0;
}

static int is_tensor(void *caller, size_t size) {
    for (int i = 0; i < num_holders; i++)
        if ((ElfW(Addr))caller >= holders[i].begin && (ElfW(Addr))caller < holders[i].end) return size >= holders[i].least;
    return 0;
}

/* Chooses; `libraries` are as `find_holder` reads them. A part is what one thread writes of a block, and has a unit of its own. Returns 0, or -1 with errno. */
int indoor_pages(int chosen, size_t least_bytes, size_t unit_bytes, int parts, const char *libraries) {
    int status = 0;
    pthread_mutex_lock(&lock);
    if (!room) {
        room = mmap(0, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (room == MAP_FAILED) { room = 0; status = -1; }
        unused = room;
    }
    if (!status && chosen == 2) {
        if (file < 0) file = memfd_create("indoor_pages", 0);
        size_t wanted = unit_bytes * (size_t)parts;
        if (file < 0 || (wanted > file_bytes && ftruncate(file, (off_t)wanted))) status = -1;
        else if (wanted > file_bytes) file_bytes = wanted; /* never less: blocks of an earlier choice lie on it */
    }
    if (!status) {
        num_holders = 0;
        dl_iterate_phdr(find_holder, (void *)libraries);
        mode = chosen; threshold = least_bytes; unit = unit_bytes; num_parts = parts;
        generation++;
        memset(kept, 0, sizeof kept);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

/* How many bytes of addresses were mapped since the process began. */
size_t indoor_pages_bytes(void) { return num_bytes; }

static int map_shared(unsigned char *at, size_t length) {
    size_t part = pages_of((length + (size_t)num_parts - 1) / (size_t)num_parts);
    for (size_t begin = 0, number = 0; begin < length; begin += part, number++) {
        size_t end = begin + part < length ? begin + part : length;
        for (size_t offset = begin; offset < end; offset += unit) {
            size_t size = end - offset < unit ? end - offset : unit;
            if (mmap(at + offset, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, file,
                     (off_t)(number * unit)) == MAP_FAILED)
                return -1;
        }
    }
    return 0;
}

static void *take(size_t size, int shared) {
    size_t length = pages_of(size);
    pthread_mutex_lock(&lock);
    struct block **place = list_of(length, shared);
    while (*place && (*place)->length != length) place = &(*place)->next;
    struct block *block = *place;
    if (block) {
        *place = block->next;
    } else if ((size_t)(room + ROOM - unused) < length + PAGE) {
        errno = ENOMEM;
    } else {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, all = PROT_READ | PROT_WRITE;
        unsigned char *data = unused + PAGE;
        int failed = mmap(unused, PAGE, all, flags, -1, 0) == MAP_FAILED;
        if (!failed && shared) failed = map_shared(data, length);
        else if (!failed) failed = mmap(data, length, all, flags | MAP_POPULATE, -1, 0) == MAP_FAILED;
        if (!failed) {
            block = (struct block *)unused;
            block->length = length;
            block->shared = shared;
            block->generation = generation;
            unused = data + length;
            num_bytes += length;
        }
    }
    pthread_mutex_unlock(&lock);
    return block ? (unsigned char *)block + PAGE : 0;
}

static struct block *block_of(void *data) {
    unsigned char *at = data;
    return room && at >= room && at < room + ROOM ? (struct block *)(at - PAGE) : 0;
}

void free(void *data) {
    struct block *block = block_of(data);
    if (!block) { __libc_free(data); return; }
    pthread_mutex_lock(&lock);
    if (block->generation == generation) {
        struct block **list = list_of(block->length, block->shared);
        block->next = *list;
        *list = block;
    } else { /* of an earlier choice */
        munmap(block, block->length + PAGE);
    }
    pthread_mutex_unlock(&lock);
}

void *malloc(size_t size) { return mode && size >= threshold ? take(size, 0) : __libc_malloc(size); }

void *realloc(void *data, size_t size) {
    struct block *block = block_of(data);
    if (!block) return __libc_realloc(data, size);
    void *other = __libc_malloc(size);
    if (other) {
        memcpy(other, data, block->length < size ? block->length : size);
        free(data);
    }
    return other;
}

static void *aligned(size_t alignment, size_t size, void *caller) {
    if (!mode || size < threshold || alignment > PAGE) return __libc_memalign(alignment, size);
    return take(size, mode == 2 && is_tensor(caller, size));
}

void *memalign(size_t alignment, size_t size) { return aligned(alignment, size, __builtin_return_address(0)); }

void *aligned_alloc(size_t alignment, size_t size) { return aligned(alignment, size, __builtin_return_address(0)); }

int posix_memalign(void **data, size_t alignment, size_t size) {
    void *taken = aligned(alignment, size, __builtin_return_address(0));
    if (!taken) return ENOMEM;
    *data = taken;
    return 0;
}
