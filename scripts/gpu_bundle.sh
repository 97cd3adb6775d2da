#!/usr/bin/env bash
# gpu_bundle.sh: fetches the Debian packages that the build needs and a machine with a GPU may lack, and unpacks them into gpu_bundle/
# (ignored by git), where gpu_check.sh finds them. To be run where there is a network, before the checkout travels.
# Headers and static libraries only, so that the C library of the other machine does not matter; 40 MiB at the most.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(zlib1g-dev nlohmann-json3-dev libgtest-dev libgmock-dev)
limit_mib=40

command -v apt-get >/dev/null || { echo "gpu_bundle: needs apt-get, to fetch Debian packages" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get -o APT::Sandbox::User=root download -qq "${packages[@]}") || { echo "gpu_bundle: could not fetch ${packages[*]}; apt-get update may help" >&2; exit 2; }
mkdir "$work/unpacked"
for package in "$work"/*.deb; do dpkg -x "$package" "$work/unpacked"; done
rm -rf "$work"/unpacked/usr/share/{doc,man,lintian} "$work"/unpacked/usr/src
find "$work/unpacked" -name '*.so*' -delete  # links to libraries that are not here
size=$(du -sm "$work/unpacked" | cut -f1)
[ "$size" -le "$limit_mib" ] || { echo "gpu_bundle: $size MiB, more than $limit_mib" >&2; exit 1; }
rm -rf gpu_bundle
mv "$work/unpacked" gpu_bundle
echo "gpu_bundle: ${#packages[@]} packages, $size MiB in gpu_bundle/"
