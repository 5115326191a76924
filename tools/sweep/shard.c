#include "shard.h"

#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "strbuf.h"

enum { SHARDS_MAX = 1000000 };

bool shard_parse(const char *text, struct shard *shard) {
    const char *slash = strchr(text, '/');
    int64_t index = 0, count = 0;
    if (!slash) return false;
    char *first = xdup(text, (size_t)(slash - text));
    bool good = parse_int(slash + 1, 1, SHARDS_MAX, &count) && parse_int(first, 1, count, &index);
    free(first);
    if (good) *shard = (struct shard){(int32_t)index - 1, (int32_t)count};
    return good;
}

static bool read_variables(const char *rank, const char *size, struct shard *shard) {
    const char *rank_text = getenv(rank), *size_text = getenv(size);
    int64_t index, count;
    if (!rank_text || !size_text || !parse_int(size_text, 1, SHARDS_MAX, &count) ||
        !parse_int(rank_text, 0, count - 1, &index))
        return false;
    *shard = (struct shard){(int32_t)index, (int32_t)count};
    return true;
}

struct shard shard_from_environment(void) {
    struct shard shard = {0, 1};
    if (!read_variables("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", &shard) &&
        !read_variables("PMI_RANK", "PMI_SIZE", &shard))
        read_variables("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", &shard);
    return shard;
}

bool shard_has(const struct shard *shard, size_t prompt, size_t prompts, size_t point, size_t points) {
    size_t shards = (size_t)shard->count, ranges = 1;
    if (prompts < shards) ranges = (shards + prompts - 1) / prompts;
    if (ranges > points) ranges = points;
    size_t unit = prompt * ranges + point * ranges / points;
    return unit % shards == (size_t)shard->index;
}
