/* Marks the words of standard input that the dictionary, the first argument, does not know. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
    char *bytes;
    size_t length;
};

struct dictionary {
    struct text *entries;
    size_t count;
};

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

/* Everything up to the end of the file. */
static struct text read_all(FILE *file, const char *name)
{
    struct text text = {NULL, 0};
    size_t room = 0;

    do {
        if (text.length == room) {
            room = room ? 2 * room : 1 << 16;
            text.bytes = realloc(text.bytes, room);
            if (!text.bytes)
                fail("no memory");
        }
        text.length += fread(text.bytes + text.length, 1, room - text.length, file);
        if (ferror(file))
            fail(name);
    } while (!feof(file));
    return text;
}

static int compare(const void *left, const void *right)
{
    const struct text *a = left, *b = right;
    size_t shorter = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->bytes, b->bytes, shorter);

    if (order)
        return order;
    return (a->length > b->length) - (a->length < b->length);
}

/* One entry a line, sorted. */
static struct dictionary read_dictionary(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct dictionary dictionary = {NULL, 0};

    if (!file)
        fail(path);
    struct text text = read_all(file, path);
    fclose(file);
    size_t lines = 1;
    for (size_t i = 0; i < text.length; i++)
        lines += text.bytes[i] == '\n';
    dictionary.entries = calloc(lines, sizeof(struct text));
    if (!dictionary.entries)
        fail("no memory");
    size_t start = 0;
    for (size_t i = 0; i <= text.length; i++) {
        if (i == text.length || text.bytes[i] == '\n') {
            dictionary.entries[dictionary.count++] = (struct text){text.bytes + start, i - start};
            start = i + 1;
        }
    }
    qsort(dictionary.entries, dictionary.count, sizeof(struct text), compare);
    return dictionary;
}

static int is_known(const struct dictionary *dictionary, struct text word)
{
    struct text lower = {malloc(word.length), word.length};

    if (!lower.bytes)
        fail("no memory");
    for (size_t i = 0; i < word.length; i++) {
        char c = word.bytes[i];
        lower.bytes[i] = c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
    }
    void *found = bsearch(&lower, dictionary->entries, dictionary->count, sizeof lower, compare);
    free(lower.bytes);
    return found != NULL;
}

static void highlight(const struct dictionary *dictionary, struct text document)
{
    size_t i = 0;

    while (i < document.length) {
        size_t start = i;
        while (i < document.length && document.bytes[i] != ' ' && document.bytes[i] != '\n')
            i++;
        struct text word = {document.bytes + start, i - start};
        int mark = word.length > 0 && !is_known(dictionary, word);
        if (mark)
            putchar('<');
        fwrite(word.bytes, 1, word.length, stdout);
        if (mark)
            putchar('>');
        if (i < document.length)
            putchar(document.bytes[i++]);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: highlight DICTIONARY < document\n");
        return 2;
    }
    struct dictionary dictionary = read_dictionary(argv[1]);
    highlight(&dictionary, read_all(stdin, "the document"));
    if (fflush(stdout))
        fail("cannot write");
    return 0;
}
