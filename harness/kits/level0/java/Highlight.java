import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Marks the words of standard input that the dictionary, the first argument, does not know. */
public class Highlight {
    public static void main(String[] args) throws IOException {
        Set<String> known = new HashSet<>(List.of(read(Files.readAllBytes(Path.of(args[0]))).split("\n", -1)));
        String document = read(System.in.readAllBytes());
        try (OutputStream output = new BufferedOutputStream(System.out)) {
            output.write(highlight(document, known).getBytes(StandardCharsets.ISO_8859_1));
        }
    }

    /** One character a byte: words may be anything but spaces and newlines. */
    static String read(byte[] bytes) {
        return new String(bytes, StandardCharsets.ISO_8859_1);
    }

    static String highlight(String document, Set<String> known) {
        StringBuilder output = new StringBuilder();
        int at = 0;
        while (at < document.length()) {
            int end = at;
            while (end < document.length() && document.charAt(end) != ' ' && document.charAt(end) != '\n') {
                end++;
            }
            String word = document.substring(at, end);
            if (word.isEmpty() || known.contains(lower(word))) {
                output.append(word);
            } else {
                output.append('<').append(word).append('>');
            }
            if (end < document.length()) {
                output.append(document.charAt(end++));
            }
            at = end;
        }
        return output.toString();
    }

    /** Only ASCII letters have a lower case here. */
    static String lower(String word) {
        StringBuilder folded = new StringBuilder(word);
        for (int i = 0; i < word.length(); i++) {
            char c = word.charAt(i);
            if (c >= 'A' && c <= 'Z') {
                folded.setCharAt(i, (char) (c - 'A' + 'a'));
            }
        }
        return folded.toString();
    }
}
