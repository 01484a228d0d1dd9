// The best tag sequence and the confidences of its entities, one thread for each sequence: what
// decoding.py's viterbi, forward_backward, decode_spans and span_probabilities do, in the same
// arithmetic but for the order of sums. A step from word to word is so little work that a GPU takes
// it for all sequences sooner than one could be launched.
//
// The compiler is told TAGS, the number of tags (O, then B and I of each label), MAX_TAG_RANGE, how
// far behind the best a tag's exponential keeps its precision, and LOWEST, which stands in for a
// maximum of -inf.

// result = log(exp_table @ exp(values)), or with the table's transpose. Where a value that is
// possible lies too far behind the best one, `too_wide` becomes 1.
__device__ static void step(const double* exp_table, int transposed, const double* values,
                            double* result, int* too_wide) {
    double exps[TAGS];
    double peak = LOWEST;
    for (int i = 0; i < TAGS; ++i) peak = values[i] > peak ? values[i] : peak;
    for (int i = 0; i < TAGS; ++i) {
        if (values[i] > LOWEST && values[i] < peak - MAX_TAG_RANGE) *too_wide = 1;
        exps[i] = exp(values[i] - peak);
    }
    for (int j = 0; j < TAGS; ++j) {
        double sum = 0;
        for (int i = 0; i < TAGS; ++i)
            sum += exp_table[transposed ? i * TAGS + j : j * TAGS + i] * exps[i];
        result[j] = log(sum) + peak;
    }
}

__device__ static double log_sum_exp(const double* values) {
    double peak = LOWEST, sum = 0;
    for (int i = 0; i < TAGS; ++i) peak = values[i] > peak ? values[i] : peak;
    for (int i = 0; i < TAGS; ++i) sum += exp(values[i] - peak);
    return log(sum) + peak;
}

// scores: (words, TAGS), divided by the temperature. bias: (TAGS,), where sequences are chosen.
// begins: (sequences + 1,), the first word of each sequence. start: (TAGS,). transition and its
// exponentials: (TAGS, TAGS), from row to column.
// Scratch: forward and previous, (words, TAGS).
// Returns tags (words,), confidences (words,), where an entity begins, and whether too_wide (1,),
// in which case the confidences are not exact.
extern "C" __global__ void decode(const float* scores, const float* bias, const int* begins,
                                  const int sequences, const double* start,
                                  const double* transition, const double* exp_transition,
                                  double* forward, signed char* previous, int* tags,
                                  double* confidences, int* too_wide) {
    const int sequence = blockIdx.x * blockDim.x + threadIdx.x;
    if (sequence >= sequences) return;
    const int begin = begins[sequence], end = begins[sequence + 1];
    if (begin == end) return;

    double best[TAGS], next[TAGS];
    for (int t = begin; t < end; ++t) {
        const float* own = scores + (long long)t * TAGS;
        double* paths = forward + (long long)t * TAGS;
        if (t == begin)
            for (int j = 0; j < TAGS; ++j) paths[j] = start[j];
        else
            step(exp_transition, 1, paths - TAGS, paths, too_wide);
        for (int j = 0; j < TAGS; ++j) {
            paths[j] += own[j];
            int from = 0;
            double most = start[j];
            if (t > begin) {
                most = best[0] + transition[j];
                for (int i = 1; i < TAGS; ++i) {
                    const double path = best[i] + transition[i * TAGS + j];
                    if (path > most) most = path, from = i;
                }
            }
            previous[(long long)t * TAGS + j] = from;
            next[j] = most + (double)(own[j] + bias[j]);
        }
        for (int j = 0; j < TAGS; ++j) best[j] = next[j];
    }
    const double log_partition = log_sum_exp(forward + (long long)(end - 1) * TAGS);

    // Back from the end: the tags, and what each entity's confidence takes. `onward` is, of each
    // tag, the sum over all continuations after the word at hand.
    double onward[TAGS], after[TAGS];
    int tag = 0, following = 0;
    double inside = 0, leave = 0;
    for (int i = 1; i < TAGS; ++i)
        if (best[i] > best[tag]) tag = i;
    for (int t = end - 1; t >= begin; --t) {
        const float* own = scores + (long long)t * TAGS;
        if (t == end - 1)
            for (int i = 0; i < TAGS; ++i) onward[i] = 0;
        else
            step(exp_transition, 0, after, onward, too_wide);
        tags[t] = tag;
        confidences[t] = 0;
        const int from = previous[(long long)t * TAGS + tag];
        if (tag > 0) {
            const int inner = tag % 2 ? tag + 1 : tag;  // the I tag of its label
            if (t == end - 1 || following != inner) {   // the last word of the entity
                inside = 0;
                leave = 0;
                if (t < end - 1) {
                    double others[TAGS];
                    for (int j = 0; j < TAGS; ++j)
                        others[j] = j == inner ? log(0.0) : transition[tag * TAGS + j] + after[j];
                    leave = log_sum_exp(others);
                }
            }
            if (tag == inner) {
                inside += own[tag] + transition[from * TAGS + tag];
            } else {
                const double path = forward[(long long)t * TAGS + tag] + inside + leave;
                confidences[t] = exp(path < log_partition ? path - log_partition : 0.0);
            }
        }
        for (int i = 0; i < TAGS; ++i) after[i] = onward[i] + own[i];
        following = tag;
        tag = from;
    }
}
