/** What both entries of the package have in common. */
export { type ClientOptions, Export, type ExportFormat } from "./client.js";
export * from "./errors.js";
export type { Filter, Flushed, Grain, Measure, Op, Priority, Query, Question, Range, ReadOptions, Shape } from "./questions.js";
export type { Column, ColumnType, Info, Result, Row, Update } from "./results.js";
export type { Event, Identity, Limits, Rejection } from "./sender.js";
export type { Answer, Properties, Scalar } from "./values.js";
