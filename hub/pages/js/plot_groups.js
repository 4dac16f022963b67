// Which channels are drawn together, and how a stored unit is shown.

const DEG = 180 / Math.PI;
const UNITS = {
  rad: ["°", DEG], "rad/s": ["°/s", DEG], deg: ["°", 1], "m/s2": ["m/s²", 1], uT: ["µT", 1], us: ["µs", 1], "mA.h": ["mAh", 1], "1/min": ["rpm", 1], "1": ["", 1], "0/1": ["", 1],
};

/** [shown unit, factor] of a registry unit; enumerations and bit fields have none. */
export const shownUnit = (unit) => UNITS[unit] ?? (/enum|bits|custom_mode/.test(unit ?? "") ? ["", 1] : [unit ?? "", 1]);

const line = (channel, label, more = {}) => ({ channel, label, ...more });

/**
 * The main plots. least: smallest span of the y axis, in shown units, so that noise on a still value is not blown up.
 * floor: the axis never starts above it. marks: lines of reference {value, text}. second: right-hand axis.
 */
export const MAIN_GROUPS = [
  { id: "altitude", title: "Altitude", unit: "m", least: 4, lines: [line("alt_rel_m", "above home")] },
  { id: "speed", title: "Speed", unit: "m/s", least: 2, lines: [line("groundspeed_mps", "ground"), line("airspeed_mps", "air"), line("climb_mps", "climb")] },
  { id: "roll", title: "Roll", unit: "°", least: 4, lines: [line("roll_rad", "actual"), line("roll_target_rad", "target", { dash: true })] },
  { id: "pitch", title: "Pitch", unit: "°", least: 4, lines: [line("pitch_rad", "actual"), line("pitch_target_rad", "target", { dash: true })] },
  { id: "yaw", title: "Yaw", unit: "°", least: 10, isAngle: true, lines: [line("yaw_rad", "actual"), line("yaw_target_rad", "target", { dash: true })] },
  { id: "vibration", title: "Vibration", unit: "m/s²", least: 5, floor: 0, marks: [{ value: 30, text: "too high above 30" }], lines: [line("vibe_x_mps2", "x"), line("vibe_y_mps2", "y"), line("vibe_z_mps2", "z")] },
  { id: "battery", title: "Battery", unit: "V", least: 0.5, lines: [line("battery_v", "voltage"), line("battery_a", "current", { second: "A" })] },
  { id: "motors", title: "Motor outputs", unit: "µs", least: 50, lines: [line("motor_output_us", "")] },
  { id: "ekf", title: "EKF test ratios", unit: "", least: 0.4, floor: 0, marks: [{ value: 1, text: "rejected above 1" }], lines: [line("ekf_velocity_ratio", "velocity"), line("ekf_position_ratio", "position"), line("ekf_height_ratio", "height"), line("ekf_compass_ratio", "compass")] },
  { id: "gps", title: "GPS", unit: "satellites", least: 4, floor: 0, lines: [line("gps_satellites", "satellites"), line("gps_hdop", "HDOP", { second: "hdop" })] },
];

/** A plot of one channel that the reader chose from the registry. */
export function channelGroup(channel) {
  const [unit] = shownUnit(channel.unit);
  return { id: `channel-${channel.name}`, title: channelTitle(channel.name), hint: channel.meaning, unit, least: 0, isExtra: true, lines: [line(channel.name, "")] };
}

/** A channel's name without its unit: "wind_speed_mps" → "Wind speed". */
export function channelTitle(name) {
  const text = name.replace(/_(deg|rad|radps|mps2?|m|pa|ut|us|v|a|mah|pct)$/, "").replaceAll("_", " ");
  return text[0].toUpperCase() + text.slice(1);
}
