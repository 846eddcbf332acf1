//! Which language a file is in, by its name.

/// A language: its name, other names for it, endings of file names, and whole file names.
struct Language {
    name: &'static str,
    aliases: &'static [&'static str],
    endings: &'static [&'static str],
    files: &'static [&'static str],
}

const fn language(
    name: &'static str,
    aliases: &'static [&'static str],
    endings: &'static [&'static str],
    files: &'static [&'static str],
) -> Language {
    Language {
        name,
        aliases,
        endings,
        files,
    }
}

/// In the order of names. An ending belongs to one language.
#[rustfmt::skip]
const LANGUAGES: &[Language] = &[
    language("ada", &[], &["adb", "ads"], &[]),
    language("asm", &["assembly", "assembler"], &["s", "asm"], &[]),
    language("awk", &[], &["awk"], &[]),
    language("c", &[], &["c", "h"], &[]),
    language("clojure", &["clj"], &["clj", "cljs", "cljc", "edn"], &[]),
    language("cmake", &[], &["cmake"], &["cmakelists.txt"]),
    language("cpp", &["c++", "cxx"], &["cc", "cpp", "cxx", "hh", "hpp", "hxx", "ipp"], &[]),
    language("csharp", &["c#", "cs"], &["cs"], &[]),
    language("css", &[], &["css", "scss", "sass", "less"], &[]),
    language("cuda", &[], &["cu", "cuh"], &[]),
    language("dart", &[], &["dart"], &[]),
    language("devicetree", &["dts"], &["dts", "dtsi", "dtso"], &[]),
    language("dockerfile", &["docker"], &["dockerfile"], &["dockerfile", "containerfile"]),
    language("elixir", &[], &["ex", "exs"], &[]),
    language("erlang", &[], &["erl", "hrl"], &[]),
    language("fortran", &[], &["f", "f77", "f90", "f95"], &[]),
    language("fsharp", &["f#"], &["fs", "fsx", "fsi"], &[]),
    language("go", &["golang"], &["go"], &[]),
    language("graphql", &[], &["graphql", "gql"], &[]),
    language("groovy", &[], &["groovy", "gradle"], &["jenkinsfile"]),
    language("haskell", &["hs"], &["hs", "lhs"], &[]),
    language("html", &[], &["html", "htm", "xhtml"], &[]),
    language("ini", &[], &["ini", "cfg", "conf"], &[]),
    language("java", &[], &["java"], &[]),
    language("javascript", &["js"], &["js", "mjs", "cjs", "jsx"], &[]),
    language("json", &[], &["json", "jsonl"], &[]),
    language("julia", &[], &["jl"], &[]),
    language("kconfig", &[], &[], &["kconfig"]),
    language("kotlin", &["kt"], &["kt", "kts"], &[]),
    language("lisp", &["elisp", "scheme"], &["el", "lisp", "scm", "rkt"], &[]),
    language("lua", &[], &["lua"], &[]),
    language("make", &["makefile"], &["mk", "mak"], &["makefile", "gnumakefile", "kbuild"]),
    language("markdown", &["md"], &["md", "markdown"], &[]),
    language("meson", &[], &[], &["meson.build", "meson_options.txt"]),
    language("nix", &[], &["nix"], &[]),
    language("objectivec", &["objc", "objective-c"], &["m", "mm"], &[]),
    language("ocaml", &["ml"], &["ml", "mli"], &[]),
    language("pascal", &[], &["pas", "dpr"], &[]),
    language("perl", &["pl"], &["pl", "pm", "t"], &[]),
    language("php", &[], &["php"], &[]),
    language("protobuf", &["proto"], &["proto"], &[]),
    language("python", &["py"], &["py", "pyi", "pyx"], &[]),
    language("r", &[], &["r"], &[]),
    language("rst", &["restructuredtext"], &["rst"], &[]),
    language("ruby", &["rb"], &["rb", "rake", "gemspec"], &["rakefile", "gemfile"]),
    language("rust", &["rs"], &["rs"], &[]),
    language("scala", &[], &["scala", "sbt"], &[]),
    language("shell", &["sh", "bash"], &["sh", "bash", "zsh", "ksh"], &[]),
    language("sql", &[], &["sql"], &[]),
    language("swift", &[], &["swift"], &[]),
    language("tcl", &[], &["tcl"], &[]),
    language("tex", &["latex"], &["tex", "sty", "cls"], &[]),
    language("text", &["txt"], &["txt"], &["readme", "copying", "license", "changelog", "maintainers"]),
    language("toml", &[], &["toml"], &[]),
    language("typescript", &["ts"], &["ts", "tsx", "mts", "cts"], &[]),
    language("verilog", &["systemverilog"], &["v", "sv", "svh"], &[]),
    language("vhdl", &[], &["vhd", "vhdl"], &[]),
    language("vim", &[], &["vim"], &[]),
    language("xml", &[], &["xml", "xsd", "xsl", "xslt", "svg"], &[]),
    language("yaml", &["yml"], &["yaml", "yml"], &[]),
    language("zig", &[], &["zig"], &[]),
];

/// The language of the file with this path, if its name says it.
pub(crate) fn of(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    // Longer than any name or ending here.
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let is = |known: &&str, name: &str| known.eq_ignore_ascii_case(name);
    let found = LANGUAGES.iter().find(|language| {
        let by_name = language.files.iter().any(|file| is(file, name));
        by_name || language.endings.iter().any(|known| is(known, ending))
    });
    // `Kconfig.debug`, `Makefile.am`, `Dockerfile.test`.
    let found = found.or_else(|| {
        let mut all = LANGUAGES.iter();
        all.find(|language| language.files.iter().any(|file| is(file, stem)))
    });
    found.map(|language| language.name)
}

/// The language that is called so, by our name or another.
pub(crate) fn named(name: &str) -> Option<&'static str> {
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    let mut all = LANGUAGES.iter();
    let found = all.find(|language| is(&language.name) || language.aliases.iter().any(is));
    found.map(|language| language.name)
}

/// The names of all languages.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    LANGUAGES.iter().map(|language| language.name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_say_the_language() {
        for (path, language) in [
            ("kernel/fork.c", Some("c")),
            ("a/B.CPP", Some("cpp")),
            ("Makefile", Some("make")),
            ("lib/Kconfig.debug", Some("kconfig")),
            ("CMakeLists.txt", Some("cmake")),
            ("notes.txt", Some("text")),
            ("x.c/plain", None),
            ("c", None),
        ] {
            assert_eq!(of(path), language, "{path}");
        }
        assert_eq!(
            (named("C++"), named("rs"), named("x")),
            (Some("cpp"), Some("rust"), None)
        );
    }

    #[test]
    fn nothing_is_listed_twice() {
        let mut seen = HashSet::new();
        for language in LANGUAGES {
            for ending in language.endings {
                assert!(seen.insert(format!(".{ending}")), "{ending}");
            }
            for name in language.aliases.iter().chain([&language.name]) {
                assert!(seen.insert((*name).to_owned()), "{name}");
            }
        }
        assert!(names().is_sorted());
    }
}
