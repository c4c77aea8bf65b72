tr -cs A-Z '\n' < "$GAZAL_INPUT_text/loud.txt" | sort | uniq -c | sort -rn > "$GAZAL_OUTPUT_out/words.txt"
