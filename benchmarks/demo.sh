#!/usr/bin/env bash
# The 60-second tour on two samples, from fetch to CSV and plot. `make demo` runs it.
set -euo pipefail
cd "$(dirname "$0")/.."

tour() { # sample, model, horizon, options of train and predict
    local sample=$1 model=$2 horizon=$3 folder=demo/$2
    shift 3
    mkdir -p "$folder"
    export FORECAST_WORKSPACE=$folder
    run forecast fetch --sample "$sample"
    run forecast train --name "$model" --horizon "$horizon" "$@" | tee "$folder/training.txt"
    run forecast predict --name "$model" --output "$folder/$model.csv" \
        --plot "$folder/$model.png" "$@"
}

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

summary() { # model
    local folder=demo/$1
    printf '\n%s\n' "$(tail -n 1 "$folder/training.txt")"
    head -n 4 "$folder/$1.csv"
    printf 'Forecast: %s\nPlot:     %s\n' "$folder/$1.csv" "$folder/$1.png"
}

tour air-passengers air 12
tour stocks stocks 10 --calendar XNYS
summary air
summary stocks
