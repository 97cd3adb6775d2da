#!/usr/bin/env bash
# Installs what building and running Tweedie needs, from Debian's packages only. Safe to run again; as root or with sudo.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache git ca-certificates          # build
  zlib1g-dev libpng-dev libjpeg-dev libgif-dev libfreetype-dev libharfbuzz-dev pkg-config   # image files and glyphs
  nlohmann-json3-dev libcli11-dev                           # configuration and command lines
  libgtest-dev libgmock-dev libbenchmark-dev                # tests and benchmarks
  fonts-noto-color-emoji unicode-data fonts-dejavu-core     # the default data set, and labels in plots
  python3                                                   # the include scan (standard library only)
)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: everything needed is installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: needs root or sudo to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
