/** Every refusal of this interface by its stable code: status, title, and when it comes. The OpenAPI document and problems.ts read it. */
export const problemCodes = {
  PARAMETER_INVALID: {
    status: 400,
    title: "The request has faults",
    when: "a parameter is unknown, missing, malformed or contradicts the cursor",
    zh: "参数未知、缺失、格式错误或与游标矛盾",
  },
  INDICATOR_UNKNOWN: {
    status: 400,
    title: "No such indicator",
    when: "there is no such indicator at this level",
    zh: "该层级没有此指标",
  },
  UNAUTHORIZED: {
    status: 401,
    title: "An API key is needed",
    when: "no key, or a wrong or withdrawn one",
    zh: "缺少密钥，或密钥错误、已停用",
  },
  ENROLMENT_REFUSED: {
    status: 403,
    title: "No certificate for this",
    when: "the token, or the certificate that is to be renewed, is wrong, used, expired or withdrawn; which of them is not told",
    zh: "令牌或待续期的证书错误、已用、过期或已停用；不说明是哪一种",
  },
  ENTITY_UNKNOWN: {
    status: 404,
    title: "No such entity",
    when: "the registry has no such entity",
    zh: "登记中没有此对象",
  },
  METRIC_UNKNOWN: {
    status: 404,
    title: "No such metric",
    when: "the device has no such metric",
    zh: "该设备没有此测点",
  },
  FIGURE_UNKNOWN: {
    status: 404,
    title: "No such figure",
    when: "the ledger has no figure of this key",
    zh: "台账中没有此数据",
  },
  DEFINITION_UNKNOWN: {
    status: 404,
    title: "No such definition",
    when: "no indicator has this id",
    zh: "没有此指标定义",
  },
  ALARM_UNKNOWN: {
    status: 404,
    title: "No such alarm",
    when: "no alarm has this id, or it is not kept any more",
    zh: "没有此报警，或已不再保留",
  },
  ROUTE_UNKNOWN: { status: 404, title: "No such address", when: "nothing is served there", zh: "地址不存在" },
  METHOD_NOT_ALLOWED: {
    status: 405,
    title: "Not served with this method",
    when: "a method that this address does not serve, mostly other than GET and HEAD; a body is not looked at",
    zh: "不支持此方法（多数地址只提供读取）",
  },
  CHANGE_AHEAD: {
    status: 409,
    title: "The change log is shorter than that",
    when: "a position beyond the end of the change log: the ledger was replaced by an older copy",
    zh: "位置超出变更日志末尾：台账已被较旧的副本替换",
  },
  LOG_REPLACED: {
    status: 409,
    title: "Another change log",
    when: "the position belongs to the change log of another ledger",
    zh: "位置属于另一个台账的变更日志",
  },
  ALARM_SETTLED: {
    status: 409,
    title: "Nothing to acknowledge",
    when: "the alarm is acknowledged already, or withdrawn",
    zh: "报警已确认或已撤销",
  },
  REGISTRY_MOVED: {
    status: 409,
    title: "Another version was applied meanwhile",
    when: "another version of the registry was applied since the one that `base` names",
    zh: "期间已应用其他登记版本",
  },
  CSR_INVALID: {
    status: 422,
    title: "The signing request cannot be used",
    when: "the signing request cannot be read, is not signed by its own key, or its key is too weak; the token can be used again",
    zh: "证书签名请求无法读取、签名不符或密钥强度不足；令牌仍可使用",
  },
  REGISTRY_INVALID: {
    status: 422,
    title: "The registry has faults",
    when: "the registry that was sent has faults; all of them are listed, nothing was applied",
    zh: "登记有错误：已全部列出，未应用",
  },
  TOO_MANY_KEYS: {
    status: 429,
    title: "Too many new keys",
    when: "too many keys that were not right before in a second; `retry-after: 1`",
    zh: "一秒内新密钥过多",
  },
  TOO_MANY_ENROLMENTS: {
    status: 429,
    title: "Too many that were refused",
    when: "too many refused enrolments or renewals from this address; `retry-after` tells when to try again",
    zh: "该地址被拒绝次数过多，请稍后再试",
  },
  INTERNAL: {
    status: 500,
    title: "The platform failed",
    when: "the platform failed; `instance` is in its log",
    zh: "平台内部错误",
  },
  ENROLMENT_OFF: {
    status: 503,
    title: "Gateways cannot enrol here",
    when: "`api.enrolment` is not set in the configuration of this platform",
    zh: "本平台未开启网关注册（未设置 api.enrolment）",
  },
  NOT_READY: {
    status: 503,
    title: "A store does not answer",
    when: "the telemetry store or the ledger does not answer",
    zh: "存储无应答",
  },
  REGISTRY_BUSY: {
    status: 503,
    title: "Another registry is being checked",
    when: "another registry that was sent is being checked; one is at a time",
    zh: "正在检查另一份登记，请稍后再试",
  },
  TOO_MANY_STREAMS: {
    status: 503,
    title: "Too many listen already",
    when: "as many streams or waiting questions as `api.maxStreams` are open; `retry-after` tells when to try again",
    zh: "同时监听者过多",
  },
} as const satisfies Record<string, { status: number; title: string; when: string; zh: string }>;

export type ProblemCode = keyof typeof problemCodes;
