/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * check_label_config.c - what a model file says of its labels: defaults, limits, contradictions, tensors that do not
 * fit, words that the tokenizer cannot say. Each fault is an error that names the key or the tensor.
 */
#include "support/check.h"
#include "nn/model.h"
#include "support/model_builder.h"

static struct heard heard;
static const struct palme_log logger = { heard_log, &heard, "model file" };

static const char base[] = "{\"image\":{\"size\":64,\"patch\":32},"
                           "\"encoder\":{\"dim\":32,\"depth\":2,\"heads\":3,\"stem\":\"efficientnet_lite0\"},"
                           "\"decoder\":{\"vocabulary\":50,\"context\":40,\"dim\":48,\"depth\":4,\"heads\":5},"
                           "\"generation\":{\"bos\":1,\"eos\":2},"
                           "\"labels\":{\"names\":[\"dog\",\"hot dog\",\"sitting\"],"
                           "\"phrases\":[\"a dog\",\"a hot dog\",\"\"],\"thresholds\":[0.5,0.25,1],"
                           "\"classes\":[0,-1,0,1],\"things\":[2],"
                           "\"words\":[[\"dog\",[0]],[\"hot dog\",[1,0]]]}}";

/* `base` with a key of an object, named by its path, set to a JSON value; NULL takes it away. */
static int read_changed(struct palme_config *config, const char *path, const char *key, const char *value)
{
    json_t *json = json_loads(base, 0, NULL), *part = json;
    char name[32];

    for (const char *at = path; *at; at += strcspn(at, ".") + (strchr(at, '.') != NULL)) {
        snprintf(name, sizeof name, "%.*s", (int)strcspn(at, "."), at);
        if (!json_object_get(part, name))
            json_object_set_new(part, name, json_object());
        part = json_object_get(part, name);
    }
    if (value)
        CHECK(json_object_set_new(part, key, json_loads(value, JSON_DECODE_ANY, NULL)) == 0);
    else if (key)
        json_object_del(part, key);
    char *text = json_dumps(json, 0);

    memset(&heard, 0, sizeof heard);
    memset(config, 0x55, sizeof *config);
    int status = palme_config_read(config, 2, text, strlen(text), &logger);
    free(text);
    json_decref(json);
    return status;
}

static void test_values(void)
{
    struct palme_config c;

    CHECK_MESSAGE(read_changed(&c, "", NULL, NULL) == PALME_OK, "%s", heard.error);
    CHECK_INT(heard.warnings, 0);
    const struct palme_label_config *l = c.labels;

    CHECK_INT(l->count, 3);
    CHECK_STR(l->names[1], "hot dog");
    CHECK_STR(l->phrases[1], "a hot dog");
    CHECK_STR(l->sentences[1], "a photo of a hot dog");
    CHECK_STR(l->sentences[2], "");
    CHECK_CLOSE(l->thresholds[2], 1, 0);
    CHECK_INT(l->class_count, 4);
    CHECK_INT(l->classes[1], -1);
    CHECK_INT(l->classes[3], 1);
    CHECK_INT(l->thing_count, 1);
    CHECK_INT(l->things[0], 2);
    CHECK_INT(l->most, 8);
    CHECK_STR(l->joiner, " ");
    CHECK_INT(l->word_count, 2);
    CHECK_STR(l->words[1].text, "hot dog");
    CHECK_INT(l->words[1].count, 2);
    CHECK_INT(l->words[1].labels[0], 1);
    CHECK_CLOSE(l->weight, 0, 0);
    CHECK_CLOSE(l->floor, 0.05, 0);
    CHECK_CLOSE(l->require, 0, 0);
    CHECK_CLOSE(l->sure, 0.6, 0);
    CHECK_CLOSE(l->confirm, 0.5, 0);
    CHECK_CLOSE(l->deny, 0, 0);
    CHECK_CLOSE(l->least, 0.5, 0);
    palme_config_clear(&c);
    CHECK(c.labels == NULL);
    CHECK_INT(read_changed(&c, "", "labels", NULL), PALME_OK);
    CHECK(c.labels == NULL && heard.warnings == 0);
    palme_config_clear(&c);
    CHECK_INT(read_changed(&c, "labels", "hold", "{\"weight\":2,\"floor\":0.1,\"require\":3,\"sure\":1}"), PALME_OK);
    CHECK(c.labels->weight == 2 && c.labels->floor == 0.1 && c.labels->require == 3 && c.labels->sure == 1);
    palme_config_clear(&c);
    CHECK_INT(read_changed(&c, "labels", "unsure", "{\"confirm\":0.25,\"deny\":0.5,\"least\":0}"), PALME_OK);
    CHECK(c.labels->confirm == 0.25 && c.labels->deny == 0.5 && c.labels->least == 0);
    palme_config_clear(&c);
    CHECK_INT(read_changed(&c, "labels", "phrases", NULL), PALME_OK);
    CHECK_STR(c.labels->phrases[0], "");
    palme_config_clear(&c);
    CHECK_INT(read_changed(&c, "labels", "words", "[]"), PALME_OK);
    CHECK_INT(c.labels->word_count, 0);
    palme_config_clear(&c);

    static const char *const unknown[][3] = { { "labels", "beyond", "labels.beyond" },
                                              { "labels.hold", "beyond", "labels.hold.beyond" },
                                              { "labels.unsure", "beyond", "labels.unsure.beyond" } };
    for (int i = 0; i < 3; i++) {
        CHECK_INT(read_changed(&c, unknown[i][0], unknown[i][1], "1"), PALME_OK);
        CHECK(heard.warnings == 1 && strstr(heard.warning, unknown[i][2]));
        palme_config_clear(&c);
    }
}

static void test_faults(void)
{
    static const struct {
        const char *path, *key, *value, *word, *other; /* words of the message */
    } table[] = {
        { "", "labels", "[]", "labels must be an object", "array" },
        { "", "labels", "null", "labels must be an object", "null" },
        { "encoder", "stem", "\"none\"", "labels need a stem", "encoder.stem" },
        { "decoder", "context", "31", "decoder.context", "32" },
        { "decoder", "image", "\"prefix\"", "", "" }, /* 4 image tokens and 36 for the text: accepted */
        { "labels", "names", NULL, "labels.names", "missing" },
        { "labels", "names", "{}", "labels.names must be an array", "an object" },
        { "labels", "names", "[]", "labels.names has 0 entries", "" },
        { "labels", "names", "[\"dog\",7,\"cat\"]", "labels.names[1] must be a string", "integer" },
        { "labels", "names", "[\"dog\",\"\",\"cat\"]", "labels.names[1] has 0 bytes", "64" },
        { "labels", "names", "[\"dog\",\"cat\",\"dog\"]", "labels.names has \"dog\" twice", "" },
        { "labels", "names", "[\"dog\",\"c\\nt\",\"cat\"]", "labels.names[1] has a control character", "" },
        { "labels", "names", "[\"dog\",\"cat\"]", "labels.phrases has 3 entries", "labels.names has 2" },
        { "labels", "phrases", "[\"a dog\"]", "labels.phrases has 1 entries", "3" },
        { "labels", "phrases", "\"a dog\"", "labels.phrases must be an array", "a string" },
        { "labels", "thresholds", NULL, "labels.thresholds is missing", "" },
        { "labels", "thresholds", "[0.5,0.5]", "labels.thresholds has 2 entries", "3" },
        { "labels", "thresholds", "[0.5,1.5,0]", "labels.thresholds[1] is 1.5", "0 to 1" },
        { "labels", "thresholds", "[-0.5,1,0]", "labels.thresholds[0] is -0.5", "0 to 1" },
        { "labels", "thresholds", "[1,\"1\",0]", "labels.thresholds[1] must be a number", "a string" },
        { "labels", "classes", "[0,3]", "labels.classes[1] is 3", "-1 to 2" },
        { "labels", "classes", "[-2]", "labels.classes[0] is -2", "-1 to 2" },
        { "labels", "classes", "[0.5]", "labels.classes[0] must be an integer", "real" },
        { "labels", "things", "[-1]", "labels.things[0] is -1", "0 to 2" },
        { "labels", "most", "0", "labels.most is 0", "1 to 32" },
        { "labels", "most", "33", "labels.most is 33", "1 to 32" },
        { "labels", "joiner", "1", "labels.joiner must be a string", "integer" },
        { "labels", "joiner", "\"                 \"", "labels.joiner has 17 bytes", "16" },
        { "labels", "cautious", "[]", "labels.cautious must be a string", "array" },
        { "labels", "hold", "1", "labels.hold must be an object", "integer" },
        { "labels.hold", "weight", "-1", "labels.hold.weight is -1", "allowed" },
        { "labels.hold", "floor", "0", "labels.hold.floor is 0", "0.0001 to 1" },
        { "labels.hold", "require", "\"1\"", "labels.hold.require must be a number", "string" },
        { "labels.hold", "sure", "2", "labels.hold.sure is 2", "0 to 1" },
        { "labels", "unsure", "[]", "labels.unsure must be an object", "array" },
        { "labels.unsure", "confirm", "1.5", "labels.unsure.confirm is 1.5", "0 to 1" },
        { "labels.unsure", "deny", "-1", "labels.unsure.deny is -1", "0 to 1" },
        { "labels.unsure", "least", "-1", "labels.unsure.least is -1", "0 to 1" },
        { "labels", "words", "{}", "labels.words must be an array", "an object" },
        { "labels", "words", "[\"dog\"]", "labels.words[0] must be a word and an array", "" },
        { "labels", "words", "[[\"dog\"]]", "labels.words[0] must be a word and an array", "" },
        { "labels", "words", "[[\"dog\",[0],1]]", "labels.words[0] must be a word and an array", "" },
        { "labels", "words", "[[\"dog\",[]]]", "labels.words[0] must be a word and an array", "" },
        { "labels", "words", "[[\"dog\",0]]", "labels.words[0] must be a word and an array", "" },
        { "labels", "words", "[[\"cat\",[0]],[7,[0]]]", "labels.words[1] must be a string", "integer" },
        { "labels", "words", "[[\"dog\",[3]]]", "labels.words[0] is 3", "0 to 2" },
        { "labels", "words", "[[\"dog\",[-1]]]", "labels.words[0] is -1", "0 to 2" },
        { "labels", "words", "[[\"dog\",[\"dog\"]]]", "labels.words[0] must be an integer", "string" },
        { "labels", "words", "[[\"dog\",[0]],[\"dog\",[1]]]", "labels.words has \"dog\" twice", "" },
        { "labels", "words", "[[\"Dog\",[0]]]", "labels.words[0] is \"Dog\"", "lower case" },
        { "labels", "words", "[[\"hot  dog\",[0]]]", "labels.words[0] is \"hot  dog\"", "one space" },
        { "labels", "words", "[[\" dog\",[0]]]", "labels.words[0] is \" dog\"", "one space" },
        { "labels", "words", "[[\"dog \",[0]]]", "labels.words[0] is \"dog \"", "one space" },
        { "labels", "words", "[[\"dog.\",[0]]]", "labels.words[0] is \"dog.\"", "words" },
        { "labels", "words", "[[\"\",[0]]]", "labels.words[0] has 0 bytes", "128" },
    };
    struct palme_config c;

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int status = read_changed(&c, table[i].path, table[i].key, table[i].value);

        CHECK_MESSAGE(status == (*table[i].word ? PALME_ERROR_FORMAT : PALME_OK), "%s.%s %s: %d, %s", table[i].path,
                      table[i].key, table[i].value ? table[i].value : "absent", status, heard.error);
        if (*table[i].word)
            CHECK_MESSAGE(heard.errors == 1 && strstr(heard.error, table[i].word) &&
                              strstr(heard.error, table[i].other) && !c.labels,
                          "%s.%s %s: %s", table[i].path, table[i].key, table[i].value, heard.error);
        palme_config_clear(&c);
    }
    CHECK_INT(read_changed(&c, "labels", "things", "[]"), PALME_OK);
    CHECK_INT(c.labels->thing_count, 0);
    palme_config_clear(&c);
    json_t *json = json_loads(base, 0, NULL);

    json_object_del(json_object_get(json, "labels"), "things");
    json_object_set_new(json_object_get(json, "labels"), "classes", json_array());
    char *text = json_dumps(json, 0);

    memset(&heard, 0, sizeof heard);
    CHECK_INT(palme_config_read(&c, 2, text, strlen(text), &logger), PALME_ERROR_FORMAT);
    CHECK(strstr(heard.error, "labels.classes and labels.things are both empty") != NULL);
    free(text);
    json_decref(json);
}

/* ---- Tensors and tokens ------------------------------------------------------------------- */

/* A model with a stem and labels of two classes and one thing, in version 1. */
static struct builder *labelled(const char *words)
{
    char config[512];

    snprintf(config, sizeof config,
             "{\"image_size\":32,\"patch_size\":32,\"stem\":\"efficientnet_lite0\",\"max_seq_len\":40,"
             "\"labels\":{\"names\":[\"a\",\"b\"],\"phrases\":[\"an a\",\"a b\"],\"thresholds\":[0,0],"
             "\"classes\":[0,1],\"things\":[1],\"words\":%s}}",
             words);
    struct builder *b = builder_new(config, 5);

    builder_add(b, "labels.classes.weight", "F32", 2, (const long long[]){ 2, 1280 }, NULL);
    builder_add(b, "labels.classes.bias", "F32", 1, (const long long[]){ 2 }, NULL);
    builder_add(b, "labels.things.weight", "F32", 2, (const long long[]){ 1, 2560 }, NULL);
    builder_add(b, "labels.things.bias", "F32", 1, (const long long[]){ 1 }, NULL);
    return b;
}

static int open_built(struct builder *b, palme_model **model)
{
    const struct palme_setup setup = { .threads = 1, .log = heard_log, .log_user = &heard };

    memset(&heard, 0, sizeof heard);
    builder_write(b, temporary("labels.safetensors"));
    return palme_model_open(model, temporary("labels.safetensors"), &setup);
}

static void refuse_built(struct builder *b, const char *word)
{
    palme_model *model = NULL;

    CHECK_MESSAGE(open_built(b, &model) == PALME_ERROR_FORMAT && !model && heard.errors == 1 &&
                      strstr(heard.error, word),
                  "no \"%s\" in: %s", word, heard.error);
    palme_model_close(&model);
    builder_free(b);
}

static void test_tensors(void)
{
    static const char words[] = "[[\"a\",[0]],[\"b\",[1]],[\"a b\",[0,1]]]";
    static const char *const types[] = { "F32", "BF16", "F16", "I8" };
    palme_model *model = NULL;
    struct builder *b;

    for (int i = 0; i < 4; i++) {
        b = labelled(words);
        builder_convert(b, "labels.classes.weight", types[i]);
        builder_convert(b, "labels.things.weight", types[i]);
        CHECK_MESSAGE(open_built(b, &model) == PALME_OK && heard.warnings == 0, "%s: %s%s", types[i], heard.error,
                      heard.warning);
        palme_model_close(&model);
        builder_free(b);
    }
    b = labelled(words);
    builder_remove(b, "labels.classes.bias");
    refuse_built(b, "tensor labels.classes.bias is missing; wanted shape [2]");
    b = labelled(words);
    builder_remove(b, "labels.things.weight");
    refuse_built(b, "tensor labels.things.weight is missing; wanted shape [1, 2560]");
    b = labelled(words);
    builder_reshape(b, "labels.things.weight", 2, (const long long[]){ 1, 1280 });
    refuse_built(b, "tensor labels.things.weight: wanted shape [1, 2560] and found [1, 1280]");
    b = labelled(words);
    builder_reshape(b, "labels.classes.weight", 2, (const long long[]){ 3, 1280 });
    refuse_built(b, "tensor labels.classes.weight: wanted shape [2, 1280]");
    b = labelled(words); /* weights that nothing in the configuration speaks of */
    builder_config(b, "labels", NULL);
    CHECK_INT(open_built(b, &model), PALME_OK);
    CHECK(strstr(heard.warning, "labels.classes.weight is unknown") != NULL);
    palme_model_close(&model);
    builder_free(b);
}

/* The tokenizer of these tests has letters alone; it leaves out what it has no token for. */
static void test_tokens(void)
{
    palme_model *model = NULL;
    struct builder *b = labelled("[]");

    CHECK_MESSAGE(open_built(b, &model) == PALME_OK, "%s", heard.error);
    palme_model_close(&model);
    builder_free(b);
    refuse_built(labelled("[[\"a\",[0]],[\"\303\251\",[1]]]"),
                 "labels.words has \"\303\251\", which the tokenizer has no tokens for");
    refuse_built(labelled("[[\"a\",[0]],[\"a\303\251\",[1]]]"), "which the tokenizer has no tokens for");
}

int main(void)
{
    test_values();
    test_faults();
    test_tensors();
    test_tokens();
    return check_done();
}
