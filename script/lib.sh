# Shared by the scripts beside it; sourced, never run. Leaves the shell in the root of the tree with the tools on PATH.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# rustup's default place, when the shell was opened before rustup wrote its profile line.
if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
  PATH="$HOME/.cargo/bin:$PATH"
fi

# The node that bootstrap installed here, where the system's is too old for the dashboard's tools.
for found in .cache/node/node_modules/node-linux-*/bin; do
  if [ -x "$found/node" ]; then
    PATH="$PWD/$found:$PWD/.cache/node/node_modules/.bin:$PATH"
  fi
done
export PATH

has() { command -v "$1" >/dev/null 2>&1; }

say() { printf '%s\n' "$*"; }

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# at_least WANTED ACTUAL: compares dotted versions.
at_least() {
  [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}
