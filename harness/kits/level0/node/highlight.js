#!/usr/bin/env node
// Marks the words of standard input that the dictionary, the first argument, does not know.
"use strict";

const fs = require("fs");

// One character a byte: words may be anything but spaces and newlines.
const ENCODING = "latin1";

const known = new Set(fs.readFileSync(process.argv[2], ENCODING).split("\n"));
const document = fs.readFileSync(0, ENCODING);

// Only ASCII letters have a lower case here.
const lower = (word) => word.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
const mark = (word) => (known.has(lower(word)) ? word : `<${word}>`);

const output = Buffer.from(document.replace(/[^ \n]+/g, mark), ENCODING);
for (let at = 0; at < output.length; ) at += fs.writeSync(1, output, at);
