/* info_loss.h: what quantised weights lose, for `tempera info`: by kind of matrix, and on a text. */
#ifndef TOOLS_INFO_LOSS_H
#define TOOLS_INFO_LOSS_H

#include "score_text.h"

struct weight_losses {
    tempera_weight_error matrix[TEMPERA_MATRIX_KINDS];
    bool tied;
    size_t scored;     /* tokens of the text; 0: none was given, or it is one token */
    double perplexity; /* of the quantised model on it */
    struct loss loss;
};

bool dtype_is_quantised(const char *dtype);
/* Of the weights that these options pack; the model is open. 0 or the exit status, as below. */
int weight_losses_measure(struct weight_losses *losses, const struct session *session,
                          const tempera_engine_options *options);
/* And on a text that was read, against weights of type `against`. The session ends without an engine, its plan as it was. */
int weight_losses_score(struct weight_losses *losses, struct session *session, const struct common_args *common,
                        const struct score_source *source, struct score_input *input, const char *against);
void weight_losses_print(struct strbuf *out, const struct weight_losses *losses, const char *dtype);
void weight_losses_json(struct json *j, const struct weight_losses *losses); /* the member "loss" */

#endif
