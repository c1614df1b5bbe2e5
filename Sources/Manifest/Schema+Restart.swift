import JSON

// When a host may restart, and what is asked and done before.
extension Schema {
    static let windows = Schema(
        doc:
            "When a restart may begin; at any time where there is none. A host that restarts by itself fetches an update a day "
            + "before a window opens, and not earlier.",
        kind: .list(
            of: Schema(
                doc: "",
                kind: .mapping([
                    Key(
                        name: "days",
                        schema: Schema(
                            doc: "The days on which it opens; all without it.",
                            kind: .list(
                                of: Schema(doc: "", kind: .word(oneOf: Manifest.Window.dayNames)), .union),
                            defaultValue: .value([]), example: "[sat, sun]")),
                    Key(
                        name: "start",
                        schema: Schema(
                            doc:
                                "The time of the day at which it opens. A time that a clock leaves out in spring is an hour later.",
                            kind: .string(
                                what: "a time of the day, such as '02:30'", pattern: "([01][0-9]|2[0-3]):[0-5][0-9]"),
                            example: "\"02:30\""),
                        isRequired: true),
                    Key(
                        name: "length",
                        schema: Schema(
                            doc: "How long it is open.", kind: .duration(60...604_800), example: "2h"),
                        isRequired: true),
                ])), .union),
        defaultValue: .value([]), example: "[{days: [sat, sun], start: \"02:30\", length: 2h}]")

    private static let stepName = Schema(
        doc: "Its name, in unit names, in the status and in the host's history.",
        kind: .string(what: "a name of lower-case letters, digits and '-'", pattern: "[a-z][a-z0-9-]{0,39}"),
        example: "balancer")

    static let gates = Schema(
        doc:
            "What is asked before a restart, in this order, and before an update is fetched that the host would restart for. Locks "
            + "of systemd-inhibit(1) on shutdown are asked before all of them.",
        kind: .list(
            of: Schema(
                doc: "",
                kind: .mapping(
                    [
                        Key(name: "name", schema: stepName, isRequired: true),
                        Key(
                            name: "timeout",
                            schema: Schema(
                                doc: "How long it may take. What takes longer holds the restart back.",
                                kind: .duration(1...3600), defaultValue: .value("10s"), example: "30s")),
                        Key(
                            name: "command",
                            schema: Schema(
                                doc:
                                    "This program ends with status 0, as the oneshot service `ballast-gate-NAME.service` with the rights "
                                    + "of a health check.",
                                kind: .list(of: argument, .command), example: "[/usr/local/bin/may-restart]")),
                        Key(
                            name: "unit",
                            schema: unit.documented("This oneshot service succeeds.", "may-restart.service")),
                        Key(
                            name: "file",
                            schema: absolutePath.documented(
                                "There is no such file. The agent does not see the host's /tmp, /var/tmp, /home, /root and /run/user.",
                                "/run/no-restart")),
                        Key(
                            name: "http",
                            schema: Schema(
                                doc:
                                    "A GET of this address, without a proxy, is answered with a status from 200 to 299.",
                                kind: address,
                                example: "https://control.example.org/may-restart")),
                    ], exactlyOneOf: ["command", "unit", "file", "http"])), .keyed(by: "name")),
        defaultValue: .value([]), example: "[{name: backup, file: /run/backup.lock}]")

    static let drains = Schema(
        doc:
            "What is done before a restart, in this order, when nothing holds it back any more. It is undone in the other order when the "
            + "host is back and its version is good, whichever that is, or when there is no restart after all.",
        kind: .list(
            of: Schema(
                doc: "",
                kind: .mapping(
                    [
                        Key(name: "name", schema: stepName, isRequired: true),
                        Key(
                            name: "timeout",
                            schema: Schema(
                                doc:
                                    "How long it, and undoing it, may take. Where it takes longer or fails, there is no restart, the drains "
                                    + "before it are undone, and the host tries again later.",
                                kind: .duration(1...86400), defaultValue: .value("5m"), example: "30m")),
                        Key(
                            name: "command",
                            schema: Schema(
                                doc:
                                    "The program that does it, as root in the oneshot service `ballast-drain-NAME.service`.",
                                kind: .list(of: argument, .command),
                                example: "[/usr/local/bin/balancer, leave]")),
                        Key(
                            name: "undo",
                            schema: Schema(
                                doc:
                                    "The program that undoes it, in `ballast-undrain-NAME.service`. It may run also where the other one did "
                                    + "not end.",
                                kind: .list(of: argument, .command), example: "[/usr/local/bin/balancer, join]")),
                        Key(
                            name: "unit",
                            schema: unit.documented("The oneshot service that does it.", "leave-balancer.service")),
                        Key(
                            name: "undo_unit",
                            schema: unit.documented("The oneshot service that undoes it.", "join-balancer.service")),
                    ], exactlyOneOf: ["command", "unit"])), .keyed(by: "name")),
        defaultValue: .value([]),
        example: "[{name: balancer, command: [/usr/local/bin/balancer, leave], undo: [/usr/local/bin/balancer, join]}]")
}
