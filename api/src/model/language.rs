//! Detects the language of a file for editors.

use super::path::FilePath;

/// Languages by the names of files, which are more exact than extensions.
const NAMES: &[(&str, &[&str])] = &[
    ("cmake", &["cmakelists.txt"]),
    ("dockerfile", &["containerfile", "dockerfile"]),
    ("go.mod", &["go.mod"]),
    ("go.sum", &["go.sum"]),
    ("groovy", &["jenkinsfile"]),
    ("ignore", &[".dockerignore", ".gitignore", ".npmignore"]),
    ("jsonc", &[".babelrc", ".eslintrc", "tsconfig.json"]),
    ("makefile", &["gnumakefile", "makefile"]),
    ("pip-requirements", &["requirements.txt"]),
    ("properties", &[".editorconfig", ".gitconfig", ".gitmodules", ".npmrc"]),
    ("ruby", &["gemfile", "rakefile"]),
    ("shellscript", &[".bash_profile", ".bashrc", ".profile", ".zshrc"]),
    ("toml", &["cargo.lock", "poetry.lock", "uv.lock", "pipfile"]),
];

/// Languages by extensions.
const EXTENSIONS: &[(&str, &[&str])] = &[
    ("bat", &["bat", "cmd"]),
    ("c", &["c", "h"]),
    ("clojure", &["clj", "cljs"]),
    ("cmake", &["cmake"]),
    ("cpp", &["cc", "cpp", "cxx", "hh", "hpp", "hxx"]),
    ("csharp", &["cs"]),
    ("css", &["css"]),
    ("csv", &["csv"]),
    ("dart", &["dart"]),
    ("diff", &["diff", "patch"]),
    ("dockerfile", &["dockerfile"]),
    ("dotenv", &["env"]),
    ("elixir", &["ex", "exs"]),
    ("go", &["go"]),
    ("graphql", &["gql", "graphql"]),
    ("groovy", &["groovy", "gradle"]),
    ("handlebars", &["hbs", "handlebars"]),
    ("html", &["htm", "html"]),
    ("ini", &["cfg", "conf", "ini", "properties"]),
    ("java", &["java"]),
    ("javascript", &["cjs", "js", "mjs"]),
    ("javascriptreact", &["jsx"]),
    ("json", &["ipynb", "json", "webmanifest"]),
    ("jsonc", &["json5", "jsonc"]),
    ("jsonl", &["jsonl", "ndjson"]),
    ("julia", &["jl"]),
    ("kotlin", &["kt", "kts"]),
    ("latex", &["tex"]),
    ("less", &["less"]),
    ("log", &["log"]),
    ("lua", &["lua"]),
    ("makefile", &["mk"]),
    ("markdown", &["markdown", "md"]),
    ("mdx", &["mdx"]),
    ("perl", &["pl", "pm"]),
    ("php", &["php"]),
    ("plaintext", &["txt"]),
    ("powershell", &["ps1", "psm1"]),
    ("prisma", &["prisma"]),
    ("proto3", &["proto"]),
    ("python", &["py", "pyi", "pyw"]),
    ("r", &["r"]),
    ("restructuredtext", &["rst"]),
    ("ruby", &["rb"]),
    ("rust", &["rs"]),
    ("sass", &["sass"]),
    ("scala", &["scala"]),
    ("scss", &["scss"]),
    ("shellscript", &["bash", "sh", "zsh"]),
    ("sql", &["sql"]),
    ("svelte", &["svelte"]),
    ("swift", &["swift"]),
    ("terraform", &["hcl", "tf", "tfvars"]),
    ("toml", &["toml"]),
    ("typescript", &["cts", "mts", "ts"]),
    ("typescriptreact", &["tsx"]),
    ("vue", &["vue"]),
    ("xml", &["svg", "xml", "xsd", "xsl"]),
    ("yaml", &["yaml", "yml"]),
    ("zig", &["zig"]),
];

/// The language of a file by its name, as a "language identifier" of VS Code and Monaco; `None` if the name is unknown.
/// To support another language, add a line to a table.
pub fn language_of(path: &FilePath) -> Option<&'static str> {
    let name = path.name().to_lowercase();
    let of_kind = match name.split_once('.') {
        Some(("", rest)) if rest == "env" || rest.starts_with("env.") => Some("dotenv"),
        Some(("dockerfile", _)) => Some("dockerfile"),
        _ => None,
    };
    let by_extension = || find(EXTENSIONS, name.rsplit_once('.')?.1);
    find(NAMES, &name).or(of_kind).or_else(by_extension)
}

/// The language that a client set for a file at this path; `None` if the language follows the path.
pub fn set_language<'l>(language: Option<&'l str>, path: &FilePath) -> Option<&'l str> {
    language.filter(|language| language_of(path) != Some(*language))
}

fn find(table: &[(&'static str, &[&str])], name: &str) -> Option<&'static str> {
    table.iter().find(|(_, names)| names.contains(&name)).map(|(language, _)| *language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_follows_the_path_unless_a_client_set_it() {
        let path = FilePath::from_stored("a.js".to_owned());
        assert_eq!(set_language(Some("javascript"), &path), None);
        assert_eq!(set_language(Some("typescript"), &path), Some("typescript"));
        assert_eq!(set_language(None, &path), None);
    }

    #[test]
    fn names_and_extensions() {
        for (path, language) in [
            ("src/main.py", Some("python")),
            ("src/App.TSX", Some("typescriptreact")),
            ("a.test.ts", Some("typescript")),
            ("index.js", Some("javascript")),
            ("package.json", Some("json")),
            ("README.md", Some("markdown")),
            ("ci.yml", Some("yaml")),
            ("Cargo.toml", Some("toml")),
            ("Cargo.lock", Some("toml")),
            ("lib.rs", Some("rust")),
            ("main.go", Some("go")),
            ("index.html", Some("html")),
            ("style.css", Some("css")),
            ("run.sh", Some("shellscript")),
            ("docker/Dockerfile", Some("dockerfile")),
            ("Dockerfile.dev", Some("dockerfile")),
            (".env", Some("dotenv")),
            (".env.local", Some("dotenv")),
            ("Makefile", Some("makefile")),
            ("LICENSE", None),
            ("py", None),
            ("logo.png", None),
            ("dir.py/data", None),
        ] {
            assert_eq!(language_of(&FilePath::from_stored(path.to_owned())), language, "{path}");
        }
    }
}
