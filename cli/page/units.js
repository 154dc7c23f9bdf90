// Numbers for people, as the program's tables print them (cli/units.h): three significant digits, SI for counts and rates,
// IEC for bytes.

const SI = ['', 'k', 'M', 'G', 'T', 'P', 'E'];
const IEC = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];

function threeDigits(value) {
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size >= 999.5) return Math.round(value).toLocaleString('en-US');
  if (size >= 0.001) return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : size >= 0.9995 ? 2 : size >= 0.01 ? 3 : 4);
  return value.toExponential(1);
}

function scaled(value, base, names) {
  let power = 0;
  while (Math.abs(value) >= base * 0.9995 && power + 1 < names.length) {
    value /= base;
    ++power;
  }
  return [value, names[power]];
}

function formatCount(count) {
  if (count === null || !isFinite(count)) return '-';
  const [value, prefix] = scaled(count, 1000, SI);
  return prefix === '' ? threeDigits(value) : `${threeDigits(value)} ${prefix}`;
}

function formatBytes(bytes) {
  if (bytes === null || !isFinite(bytes)) return '-';
  const [value, unit] = scaled(bytes, 1024, IEC);
  return `${unit === 'B' ? Math.round(value) : threeDigits(value)} ${unit}`;
}

function formatRate(perSecond, unit) {
  const [value, prefix] = scaled(perSecond, 1000, SI);
  return `${threeDigits(value)} ${prefix}${unit}/s`;
}

function formatSeconds(seconds) {
  if (seconds === null || !isFinite(seconds)) return '-';
  const size = Math.abs(seconds);
  const [factor, unit] = size === 0 ? [1, 's'] : size < 999.5e-9 ? [1e9, 'ns'] : size < 999.5e-6 ? [1e6, '\u00b5s'] :
      size < 0.9995 ? [1e3, 'ms'] : size < 120 ? [1, 's'] : size < 7200 ? [1 / 60, 'min'] : size < 172800 ? [1 / 3600, 'h'] :
      [1 / 86400, 'd'];
  return `${threeDigits(seconds * factor)} ${unit}`;
}

function formatPercent(share) {
  if (share === null || !isFinite(share)) return '-';
  const percent = 100 * share;
  return percent !== 0 && Math.abs(percent) < 0.05 ? '<0.1 %' : `${percent.toFixed(1)} %`;
}

function formatDollars(amount) {
  return amount === null ? '-' : `$${amount >= 100 ? Math.round(amount).toLocaleString('en-US') : amount.toFixed(2)}`;
}

function formatEnergy(joules) {
  if (joules === null) return '-';
  const [value, prefix] = scaled(joules / 3600, 1000, SI);
  return `${threeDigits(value)} ${prefix}Wh`;
}

function plural(count, noun) { return `${count.toLocaleString('en-US')} ${noun}${count === 1 ? '' : 's'}`; }

// "models/resnet50.onnx" -> "resnet50.onnx"
function baseName(path) { return path.slice(path.lastIndexOf('/') + 1); }

// "activation_bytes" -> "activation"; "parameter_gradient_bytes" -> "parameter gradient"
function words(key) { return key.replace(/_bytes$/, '').replaceAll('_', ' '); }

// Units that a value of each kind is told in, smallest first.
const TIME_UNITS = [1e-9, 1e-6, 1e-3, 1, 60, 3600, 86400];
const COUNT_UNITS = [1e-3, 1, 1e3, 1e6, 1e9, 1e12, 1e15, 1e18];

// About six round ticks, in the unit that fits, of a linear axis from 0.
function linearTicks(largest, units, format) {
  const unit = units.filter((one) => largest >= 2 * one).at(-1) ?? units[0];
  const rough = largest / unit / 6, power = 10 ** Math.floor(Math.log10(rough));
  const step = unit * power * [1, 2, 5, 10].find((digit) => digit * power >= rough * 0.999);
  const values = [];
  for (let count = 0; count * step <= largest * 1.0001; ++count) values.push(count * step);
  return {tickvals: values, ticktext: values.map((value) => round(format(value)))};
}

// The same in powers of two.
function byteTicks(largest) {
  const step = 2 ** Math.max(0, Math.ceil(Math.log2(largest / 6)));
  const values = [];
  for (let value = 0; value <= largest; value += step) values.push(value);
  return {tickvals: values, ticktext: values.map((value) => round(formatBytes(value)))};
}

function timeTicks(largest) { return linearTicks(largest, TIME_UNITS, formatSeconds); }
function countTicks(largest) { return linearTicks(largest, COUNT_UNITS, formatCount); }

// Round times within a range, for a logarithmic axis.
function timeLogTicks([low, high]) {
  const round = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 18000, 43200, 86400, 172800, 432000,
                 864000, 8640000];
  const values = round.filter((value) => value >= low && value <= high);
  const chosen = values.filter((value, index) => (values.length - 1 - index) % Math.ceil(values.length / 9) === 0);
  return {tickvals: chosen, ticktext: chosen.map((value) => roundTime(value))};
}
function roundTime(seconds) { return seconds === 60 ? '1 min' : seconds === 3600 ? '1 h' : seconds === 86400 ? '1 d' : round(formatSeconds(seconds)); }

// "25.0 GiB" -> "25 GiB": ticks are round.
function round(text) { return text.replace(/\.0+(?!\d)/, '').replace(/(\.\d*[1-9])0+(?!\d)/, '$1'); }

// 1, 2 and 5 times powers of ten within [low, high], or the powers alone where those are many.
function decadeTicks(low, high, format) {
  const digits = high / low > 1000 ? [1] : [1, 2, 5], values = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); ++power) {
    values.push(...digits.map((digit) => digit * 10 ** power).filter((value) => value >= low && value <= high));
  }
  return {tickvals: values, ticktext: values.map((value) => round(format(value)))};
}

// Powers of `base` within [low, high], not more than `count` of them.
function logTicks(low, high, base, format, count = 8) {
  const first = Math.ceil(Math.log(low) / Math.log(base) - 1e-9), last = Math.floor(Math.log(high) / Math.log(base) + 1e-9);
  const step = Math.max(1, Math.ceil((last - first + 1) / count));
  const values = [];
  for (let power = first; power <= last; power += step) values.push(base ** power);
  return {tickvals: values, ticktext: values.map((value) => round(format(value)))};
}
