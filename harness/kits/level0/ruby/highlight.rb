#!/usr/bin/env ruby
# Marks the words of standard input that the dictionary, the first argument, does not know.

require "set"

# Bytes, not characters: words may be anything but spaces and newlines.
known = File.binread(ARGV.fetch(0)).split("\n", -1).to_set
$stdin.binmode
$stdout.binmode

document = $stdin.read
marked = document.gsub(/[^ \n]+/n) do |word|
  known.include?(word.downcase(:ascii)) ? word : "<#{word}>".b
end
$stdout.write(marked)
