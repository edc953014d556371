#!/usr/bin/env bash
# The main job on two bundled samples, from fetch to CSV and plot. `make demo` runs it.
set -euo pipefail
cd "$(dirname "$0")/.."

summary=""
verdict='import json, sys; print(json.load(sys.stdin)["judgement"]["verdict"])'

tour() { # name, sample, horizon, series...
    local name=$1 sample=$2 horizon=$3 folder=demo/$1
    shift 3
    export FORECAST_WORKSPACE=$folder
    mkdir -p "$folder"
    run forecast fetch --sample "$sample"
    run forecast train "$@" --name "$name" --horizon "$horizon"
    run forecast predict --name "$name" --output "$folder/$name.csv" --plot "$folder/$name.png"
    summary+="
$name
  $(forecast models show --name "$name" --json | python -c "$verdict")
  Forecast: $folder/$name.csv
  Plot:     $folder/$name.png
$(head -n 4 "$folder/$name.csv" | sed 's/^/    /')
"
}

run() {
    echo
    echo "\$ $*"
    "$@"
}

tour air air-passengers 12
tour apple stocks 5 AAPL
echo "$summary"
