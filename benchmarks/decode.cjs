// Times the reference decoder: the processor seconds of reading all strings of a file of lines, once for each round.
// Arguments: the file, the number of rounds, and the package.
const { readFileSync } = require("node:fs");
const { TCString, GppModel } = require(process.argv[4]);

const texts = readFileSync(process.argv[2], "utf8").split("\n");
const decode = GppModel ? (text) => new GppModel(text).toObject() : (text) => TCString.decode(text);
const seconds = () => Object.values(process.cpuUsage()).reduce((sum, part) => sum + part, 0) / 1e6;
for (const text of texts) decode(text); // compiled before it is timed
for (let round = 0; round < Number(process.argv[3]); round++) {
  const begun = seconds();
  for (const text of texts) decode(text);
  console.log(seconds() - begun);
}
