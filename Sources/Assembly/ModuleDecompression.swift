import Archive
import Fault
import FileIO
import Glibc
import SystemPackage

/// Replaces compressed kernel modules by what they hold: an update can then tell which did not change, and reads cost nothing.
///
/// It takes a second or two of a processor that dpkg leaves idle, so that it is done beside the maintainer scripts. They see
/// the modules as the packages have them all the same: what was decompressed is put into place after the last script, and
/// only where the module is still the one that was read.
struct ModuleDecompression {
    private let root: FilePath
    private let work: FilePath

    /// One module that was decompressed.
    struct Module: Sendable {
        fileprivate let status: Identity
        fileprivate let file: FilePath
    }

    /// What a file has of its own, and loses when it is written or replaced.
    fileprivate struct Identity: Hashable {
        let inode: UInt
        let size: Int
        let changed: Int
        let changedNanoseconds: Int

        init(_ status: stat) {
            inode = UInt(status.st_ino)
            size = Int(status.st_size)
            changed = status.st_ctim.tv_sec
            changedNanoseconds = status.st_ctim.tv_nsec
        }
    }

    /// The most bytes a module may have.
    private static let limit = 512 << 20
    private static let endings = [".ko.xz", ".ko.zst", ".ko.gz"]

    /// For the modules below `root`, with `work` on the same file system for those that are not in place yet.
    init(root: FilePath, work: FilePath) {
        self.root = root
        self.work = work
    }

    /// Decompresses all modules that are there now, by their paths, and leaves out what cannot be: a script may be writing it.
    func prepare() throws(AssemblyFault) -> [String: Module] { try decompress(isEarly: true) }

    private func decompress(isEarly: Bool) throws(AssemblyFault) -> [String: Module] {
        let root = try RootDirectory(root)
        try attempt("cannot make a directory for the modules") { try work.makeDirectories() }
        var modules: [String: Module] = [:]
        for path in try Self.compressed(in: root) {
            if Task.isCancelled { throw .during("", CancellationError()) }
            let file = work.appending("\(modules.count)")
            do throws(AssemblyFault) {
                guard let status = try root.status(path), let bytes = try root.contents(path) else { continue }
                try Self.decompress(bytes, path, status, to: file)
                modules[path] = Module(status: Identity(status), file: file)
            } catch {
                guard isEarly else { throw error }
            }
        }
        return modules
    }

    private static func decompress(
        _ bytes: [UInt8], _ path: String, _ status: stat, to file: FilePath
    ) throws(AssemblyFault) {
        try attempt("cannot decompress the module", at: .path("/" + path)) {
            let content = try ArchiveReader.decompress(bytes, name: path, limit: limit)
            let output = try OpenFile(file, .writeOnly, options: [.create, .truncate, .noFollow])
            try output.append(content)
            var times = [status.st_mtim, status.st_mtim]
            guard fchown(output.descriptor.rawValue, status.st_uid, status.st_gid) == 0,
                fchmod(output.descriptor.rawValue, status.st_mode & 0o7777) == 0,
                futimens(output.descriptor.rawValue, &times) == 0
            else { throw FileIOFault.last("cannot set the mode and owner", at: file) }
        }
    }

    /// Puts the modules into place: those of `prepared` that did not change since, and all others.
    func finish(_ prepared: [String: Module]) throws(AssemblyFault) {
        let root = try RootDirectory(root)
        var late: [String: Module]?
        for path in try Self.compressed(in: root) {
            guard let status = try root.status(path) else { continue }
            var module = prepared[path]
            if module?.status != Identity(status) {
                if late == nil {
                    late = try ModuleDecompression(root: self.root, work: work.appending("late")).decompress(
                        isEarly: false)
                }
                module = late?[path]
            }
            guard let module, let ending = path.lastIndex(of: ".") else { continue }
            try root.take(module.file, as: String(path[..<ending]))
            try root.removeFile(path)
        }
    }

    private static func compressed(in root: RootDirectory) throws(AssemblyFault) -> [String] {
        var paths: [String] = []
        var pending = [KernelModules.base]
        while let directory = pending.popLast() {
            for name in try root.entries(directory) {
                let path = "\(directory)/\(name)"
                guard let status = try root.status(path) else { continue }
                switch status.st_mode & S_IFMT {
                case S_IFDIR: pending.append(path)
                case S_IFREG where endings.contains(where: name.hasSuffix): paths.append(path)
                default: break
                }
            }
        }
        return paths.sorted()
    }
}
