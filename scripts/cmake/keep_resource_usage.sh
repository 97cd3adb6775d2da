#!/bin/sh
# keep_resource_usage.sh COMPILER ARGUMENTS... : runs nvcc, whose assembler says with -Xptxas -v what each kernel uses, and writes
# that into OBJECT.resources instead of the terminal (tests/kernels/cuda_budgets.py reads it).
previous= object=
for argument; do
  [ "$previous" = -o ] && object=$argument
  previous=$argument
done
[ -n "$object" ] || exec "$@"
said=$("$@" 2>&1)
status=$?
printf '%s\n' "$said" | sed -n '/^ptxas info\|^ *[0-9]* bytes stack frame/p' >"$object.resources"
printf '%s\n' "$said" | sed '/^ptxas info\|^ *[0-9]* bytes stack frame/d; /^$/d' >&2
exit $status
