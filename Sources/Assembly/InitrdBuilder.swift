import Fault
import FileTree
import Glibc
import Manifest

/// Makes the initrd's tree out of the image's own: the same packages, no other tool, and no maintainer hooks.
struct InitrdBuilder {
    let manifest: Manifest
    let identity: ImageIdentity
    let image: FileTree
    let kernelRelease: String
    let epoch: Int64

    private static let unitDirectory = "usr/lib/systemd/system"

    func build() throws(AssemblyFault) -> FileTree {
        var builder = Closure(image: image, libraryDirectory: manifest.architecture.libraryDirectory, epoch: epoch)
        do throws(FileTreeFault) {
            try builder.copyTopLevelLinks()
            for path in InitrdContents.files { try builder.copy(path) }
            for path in manifest.initrd.files { try builder.copy(String(path.drop { $0 == "/" })) }
            for unit in InitrdContents.units where image["\(Self.unitDirectory)/\(unit)"] != nil {
                try builder.copy("\(Self.unitDirectory)/\(unit)")
            }
            try writeUnits(into: &builder)
            try builder.link("init", to: "usr/lib/systemd/systemd")
            try builder.write("etc/initrd-release", image.contents(of: "usr/lib/os-release"))
            try builder.link("etc/os-release", to: "initrd-release")
            for directory in ["dev", "proc", "run", "sys", "sysroot", "tmp", "var"] {
                try builder.makeDirectory(directory)
            }
        } catch {
            throw AssemblyFault(
                .missing, "the image lacks what its initrd needs", remedy: "add the package that has it", cause: error)
        }
        try copyModules(into: &builder)
        return builder.tree
    }

    private func writeUnits(into builder: inout Closure) throws(FileTreeFault) {
        let directory = Self.unitDirectory
        try builder.write(
            "\(directory)/sysroot-var.mount", Array(InitrdContents.varMount(partition: identity.varPartition).utf8))
        try builder.write(
            "\(directory)/\(InitrdContents.varCheckName)",
            Array(InitrdContents.varCheck(partition: identity.varPartition).utf8))
        try builder.write("\(directory)/ballast-etc.service", Array(InitrdContents.etcService(manifest.etc).utf8))
        try builder.write("\(directory)/emergency.service.d/10-ballast.conf", Array(HostUnits.emergency.utf8))
        try builder.write(
            "\(directory)/systemd-repart.service.d/10-ballast.conf", Array(InitrdContents.repartAfterRoot.utf8))
        for unit in ["sysroot-var.mount", "ballast-etc.service"] {
            try builder.link("\(directory)/initrd-fs.target.requires/\(unit)", to: "../\(unit)")
        }
        for (target, unit) in InitrdContents.wants where image["\(directory)/\(unit)"] != nil {
            try builder.link("\(directory)/\(target)/\(unit)", to: "../\(unit)")
        }
        for unit in manifest.initrd.units { try start(unit, in: &builder) }
        for (path, text) in HostUnits.settings(for: manifest) { try builder.write(path, Array(text.utf8)) }
        let modules = InitrdContents.loadedFirst.map { $0 + "\n" }.joined()
        try builder.write("usr/lib/modules-load.d/ballast.conf", Array(modules.utf8))
    }

    /// Copies a unit of the image, what it runs, and the links that its section [Install] asks for.
    private func start(_ unit: String, in builder: inout Closure) throws(FileTreeFault) {
        let file = ["etc/systemd/system", Self.unitDirectory].map { "\($0)/\(unit)" }.first { image.resolve($0) != nil }
        guard let file else {
            throw FileTreeFault(
                .notFound, "no package or overlay has the unit '\(unit)'",
                at: manifest.place(of: "initrd.units", element: unit))
        }
        try builder.copy(file)
        let text = String(decoding: try image.contents(of: image.resolve(file) ?? file), as: UTF8.self)
        var isStarted = false
        for line in text.split(separator: "\n") {
            guard let equals = line.firstIndex(of: "=") else { continue }
            let key = line[..<equals].filter { $0 != " " }
            let words = line[line.index(after: equals)...].split(separator: " ").map(String.init)
            switch key {
            case "WantedBy", "RequiredBy":
                for target in words {
                    let directory = "\(target).\(key == "WantedBy" ? "wants" : "requires")"
                    try builder.link("etc/systemd/system/\(directory)/\(unit)", to: "/" + file)
                    isStarted = true
                }
            case "ExecStart", "ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost", "ExecCondition":
                // Prefixes of systemd.service(5), "Special executable prefixes".
                let program = words.first?.drop { "@-:+!|".contains($0) } ?? ""
                if program.hasPrefix("/"), image.resolve(String(program)) != nil {
                    try builder.copy(String(program.dropFirst()))
                }
            default: break
            }
        }
        guard isStarted else {
            throw FileTreeFault(
                .notFound, "nothing starts the unit '\(unit)' in the initrd: its section [Install] has no WantedBy=",
                at: manifest.place(of: "initrd.units", element: unit))
        }
    }

    /// Copies the firmware that the module asks for, as far as the image has it.
    private func copyFirmware(of module: String, into builder: inout Closure) throws(FileTreeFault) {
        for name in Self.firmware(try image.contents(of: module)) {
            for ending in ["", ".xz", ".zst"] where image.resolve("usr/lib/firmware/\(name)\(ending)") != nil {
                try builder.copy("usr/lib/firmware/\(name)\(ending)")
            }
        }
    }

    /// The names in a module's information (its section .modinfo): strings `firmware=NAME`, each with a zero byte around it.
    private static func firmware(_ module: [UInt8]) -> [String] {
        let key = Array("firmware=".utf8)
        var names: [String] = []
        var index = module.startIndex
        while let found = module[index...].firstIndex(of: key[0]) {
            index = found + 1
            guard found == 0 || module[found - 1] == 0, module[found...].starts(with: key) else { continue }
            let name = module[(found + key.count)...].prefix { $0 != 0 }
            guard name.count <= 256, let text = String(validating: name, as: UTF8.self),
                !text.split(separator: "/").contains("..")
            else { continue }
            names.append(text)
        }
        return names
    }

    private func copyModules(into builder: inout Closure) throws(AssemblyFault) {
        let base = "usr/lib/modules/\(kernelRelease)"
        do throws(FileTreeFault) {
            let text = String(decoding: try image.contents(of: "\(base)/modules.dep"), as: UTF8.self)
            let builtIn = String(decoding: try image.contents(of: "\(base)/modules.builtin"), as: UTF8.self)
            let dependencies: ModuleDependencies
            let builtInModules: ModuleDependencies
            do throws(AssemblyFault) {
                let softPath = "\(base)/modules.softdep"
                let soft = image[softPath] == nil ? [] : (try? image.contents(of: softPath)) ?? []
                dependencies = try ModuleDependencies(text, soft: String(decoding: soft, as: UTF8.self))
                builtInModules = try ModuleDependencies(
                    builtIn.split(separator: "\n").map { "\($0):\n" }.joined())
                for pattern in manifest.initrd.modules
                where dependencies.closure(of: [pattern]).isEmpty && builtInModules.closure(of: [pattern]).isEmpty {
                    throw AssemblyFault(
                        .missing, "no module of the kernel \(kernelRelease) matches '\(pattern)'",
                        at: manifest.place(of: "initrd.modules", element: pattern) ?? .named("initrd.modules"))
                }
            } catch {
                throw FileTreeFault(.notFound, "the modules cannot be chosen", cause: error)
            }
            for path in dependencies.closure(of: InitrdContents.modules + manifest.initrd.modules).sorted() {
                try builder.copy("\(base)/\(path)")
                try copyFirmware(of: "\(base)/\(path)", into: &builder)
            }
            for path in image.sortedPaths() where path.hasPrefix("\(base)/modules.") { try builder.copy(path) }
        } catch {
            throw AssemblyFault(.missing, "the initrd's modules are not in the image", cause: error)
        }
    }
}

/// A tree that takes files from the image with whatever they need to run.
private struct Closure {
    let image: FileTree
    private let libraryDirectory: String
    private let epoch: Int64
    private(set) var tree: FileTree

    init(image: FileTree, libraryDirectory: String, epoch: Int64) {
        self.image = image
        self.libraryDirectory = libraryDirectory
        self.epoch = epoch
        tree = FileTree(modified: epoch)
    }

    /// `/bin`, `/lib` and the like, which are links on a merged-/usr system.
    mutating func copyTopLevelLinks() throws(FileTreeFault) {
        for name in ["bin", "sbin", "lib", "lib64"] {
            guard let inode = image[name], case .symbolicLink = inode.kind else { continue }
            try insert(inode, at: name)
        }
        for directory in ["usr/bin", "usr/sbin", "usr/lib"] { try makeDirectory(directory) }
    }

    mutating func makeDirectory(_ path: String) throws(FileTreeFault) {
        guard tree[path] == nil else { return }
        try tree.insert(FileInode(.directory, permissions: 0o755, modified: epoch), at: path)
    }

    mutating func write(_ path: String, _ bytes: [UInt8]) throws(FileTreeFault) {
        try tree.insert(FileInode(.regular(.bytes(bytes)), permissions: 0o644, modified: epoch), at: path)
    }

    mutating func link(_ path: String, to target: String) throws(FileTreeFault) {
        try tree.insert(FileInode(.symbolicLink(target: target), permissions: 0o777, modified: epoch), at: path)
    }

    private mutating func insert(_ inode: FileInode, at path: String) throws(FileTreeFault) {
        var inode = inode
        // The kernel's unpacker keeps times, and nothing in an initrd asks for them.
        inode.modified = epoch
        inode.extendedAttributes = [:]
        try tree.insert(inode, at: path)
    }

    /// Copies the file at `path`, every link on the way to it, and the libraries it needs.
    mutating func copy(_ path: String) throws(FileTreeFault) {
        let parts = path.split(separator: "/")
        guard let name = parts.last, let directory = image.resolve(parts.dropLast().joined(separator: "/")) else {
            throw FileTreeFault(.notFound, "there is no such file in the image", at: .path("/" + path))
        }
        let real = directory.isEmpty ? String(name) : "\(directory)/\(name)"
        guard let inode = image[real] else {
            throw FileTreeFault(.notFound, "there is no such file in the image", at: .path("/" + path))
        }
        guard tree[real] == nil else { return }
        switch inode.kind {
        case .directory:
            try insert(inode, at: real)
            for child in image.descendants(of: real).sorted() { try copy(child) }
        case .regular:
            try insert(inode, at: real)
            if inode.permissions & 0o111 != 0 || real.contains(".so") {
                if let elf = ElfFile(try image.contents(of: real)) { try copyLibraries(of: elf, at: real) }
            }
        case .symbolicLink(let target):
            try insert(inode, at: real)
            let next = target.hasPrefix("/") ? target : "\(directory)/\(target)"
            if image.resolve(next) != nil { try copy(next) }
        case .characterDevice, .blockDevice, .fifo: try insert(inode, at: real)
        }
    }

    private mutating func copyLibraries(of elf: ElfFile, at path: String) throws(FileTreeFault) {
        if let interpreter = elf.interpreter { try copy(String(interpreter.drop { $0 == "/" })) }
        for name in elf.needed {
            guard let library = locate(name, for: elf, at: path) else {
                throw FileTreeFault(.notFound, "the library '\(name)' is not in the image", at: .path("/" + path))
            }
            try copy(library)
        }
        for optional in elf.optional where InitrdContents.features.contains(optional.feature) {
            for name in optional.names {
                guard let library = locate(name, for: elf, at: path) else { continue }
                try copy(library)
                break
            }
        }
    }

    private func locate(_ name: String, for elf: ElfFile, at path: String) -> String? {
        let directory = path.split(separator: "/").dropLast().joined(separator: "/")
        // A library beside the one that needs it is found through whoever loaded that one.
        let own = elf.searchPaths.map { $0.replacingOrigin(with: "/" + directory) } + ["/" + directory]
        let usual = ["/" + libraryDirectory, "/usr/lib", "/usr/lib64"]
        return (own + usual).lazy.map { String($0.drop { $0 == "/" }) + "/" + name }.first { image.resolve($0) != nil }
    }
}

extension String {
    fileprivate func replacingOrigin(with directory: String) -> String {
        hasPrefix("$ORIGIN") ? directory + dropFirst("$ORIGIN".count) : self
    }
}
