//! Detects the language of a file for editors.

use super::path::FilePath;

/// The language of a file by its name, as a "language identifier" of VS Code and Monaco; `None` if the name is unknown.
/// To support another language, add a line.
pub fn language_of(path: &FilePath) -> Option<&'static str> {
    let name = path.name().to_lowercase();
    let by_name = match name.as_str() {
        "cargo.lock" | "poetry.lock" | "uv.lock" | "pipfile" => "toml",
        "cmakelists.txt" => "cmake",
        "containerfile" | "dockerfile" => "dockerfile",
        "gemfile" | "rakefile" => "ruby",
        "gnumakefile" | "makefile" => "makefile",
        "go.mod" => "go.mod",
        "go.sum" => "go.sum",
        "jenkinsfile" => "groovy",
        "requirements.txt" => "pip-requirements",
        ".babelrc" | ".eslintrc" | "tsconfig.json" => "jsonc",
        ".bash_profile" | ".bashrc" | ".profile" | ".zshrc" => "shellscript",
        ".dockerignore" | ".gitignore" | ".npmignore" => "ignore",
        ".editorconfig" | ".gitconfig" | ".gitmodules" | ".npmrc" => "properties",
        _ if name == ".env" || name.starts_with(".env.") => "dotenv",
        _ if name.starts_with("dockerfile.") => "dockerfile",
        _ => "",
    };
    if !by_name.is_empty() {
        return Some(by_name);
    }
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension {
        "bash" | "sh" | "zsh" => "shellscript",
        "bat" | "cmd" => "bat",
        "c" | "h" => "c",
        "cc" | "cpp" | "cxx" | "hh" | "hpp" | "hxx" => "cpp",
        "cfg" | "conf" | "ini" | "properties" => "ini",
        "cjs" | "js" | "mjs" => "javascript",
        "clj" | "cljs" => "clojure",
        "cmake" => "cmake",
        "cs" => "csharp",
        "css" => "css",
        "csv" => "csv",
        "cts" | "mts" | "ts" => "typescript",
        "dart" => "dart",
        "diff" | "patch" => "diff",
        "dockerfile" => "dockerfile",
        "env" => "dotenv",
        "ex" | "exs" => "elixir",
        "go" => "go",
        "gql" | "graphql" => "graphql",
        "groovy" | "gradle" => "groovy",
        "hbs" | "handlebars" => "handlebars",
        "hcl" | "tf" | "tfvars" => "terraform",
        "htm" | "html" => "html",
        "ipynb" | "json" | "webmanifest" => "json",
        "java" => "java",
        "jl" => "julia",
        "json5" | "jsonc" => "jsonc",
        "jsonl" | "ndjson" => "jsonl",
        "jsx" => "javascriptreact",
        "kt" | "kts" => "kotlin",
        "less" => "less",
        "log" => "log",
        "lua" => "lua",
        "markdown" | "md" => "markdown",
        "mdx" => "mdx",
        "mk" => "makefile",
        "php" => "php",
        "pl" | "pm" => "perl",
        "prisma" => "prisma",
        "proto" => "proto3",
        "ps1" | "psm1" => "powershell",
        "py" | "pyi" | "pyw" => "python",
        "r" => "r",
        "rb" => "ruby",
        "rs" => "rust",
        "rst" => "restructuredtext",
        "sass" => "sass",
        "scala" => "scala",
        "scss" => "scss",
        "sql" => "sql",
        "svelte" => "svelte",
        "svg" | "xml" | "xsd" | "xsl" => "xml",
        "swift" => "swift",
        "tex" => "latex",
        "toml" => "toml",
        "tsx" => "typescriptreact",
        "txt" => "plaintext",
        "vue" => "vue",
        "yaml" | "yml" => "yaml",
        "zig" => "zig",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
