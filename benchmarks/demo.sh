#!/usr/bin/env bash
# The 60-second tour: two samples, from fetch to CSV and plot. `make demo` runs it.
set -euo pipefail
cd "$(dirname "$0")/.."

tour() { # folder, sample, model, horizon
    local folder=demo/$1 sample=$2 model=$3 horizon=$4
    export FORECAST_WORKSPACE=$folder
    mkdir -p "$folder"
    run forecast fetch --sample "$sample"
    run forecast train --name "$model" --horizon "$horizon"
    run forecast predict --name "$model" --output "$folder/$model.csv" --plot "$folder/$model.png"
    echo
    echo "First rows of $folder/$model.csv:"
    head -n 5 "$folder/$model.csv"
    echo
    echo "Forecast: $folder/$model.csv"
    echo "Plot:     $folder/$model.png"
}

run() {
    echo
    echo "\$ $*"
    "$@"
}

tour air air-passengers air 12
tour stocks stocks stocks 10
