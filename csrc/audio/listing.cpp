#include "audio/listing.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <set>
#include <string_view>

#include "common/parallel.hpp"

namespace clinaug {
namespace {

constexpr std::int64_t kFilesAThread = 1024;  // fewer are looked at sooner than another thread starts

// As Python's posixpath.splitext: dots that a name begins with start no suffix.
std::string_view suffix_of(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || name.find_first_not_of('.') > dot) return {};
  return name.substr(dot);
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_but_for_case(std::string_view name, std::string_view lower_case) {
  return std::equal(name.begin(), name.end(), lower_case.begin(), lower_case.end(), [](char a, char b) { return lower(a) == b; });
}

}  // namespace

bool is_of_the_name(int error) {
  constexpr int kOfTheName[] = {ENOENT, ENOTDIR, EACCES, EPERM, ELOOP, ENAMETOOLONG, EINVAL};
  return std::find(std::begin(kOfTheName), std::end(kOfTheName), error) != std::end(kOfTheName);
}

namespace {

// What lies at `name` in an open folder, whose path is `inside`; false where nothing can be found there. Throws Unlistable.
bool look(int folder, const std::string& inside, const char* name, int flags, struct stat& about) {
  if (::fstatat(folder, name, &about, flags) == 0) return true;
  if (!is_of_the_name(errno)) throw Unlistable(errno, inside + "/" + name);
  return false;
}

// Open as long as it lives.
class Folder {
 public:
  explicit Folder(const std::string& path) : folder_(::opendir(path.c_str()), &::closedir) {
    if (!folder_) throw Unlistable(errno, path);
  }
  DIR* get() const { return folder_.get(); }

 private:
  std::unique_ptr<DIR, int (*)(DIR*)> folder_;
};

class Walk {
 public:
  Walk(const std::string& root, const std::vector<std::string>& suffixes, Listing& listing)
      : root_(root), suffixes_(suffixes), listing_(listing) {
    enter("");
    // A folder is listed under its own name, not under that of a link to it; links are taken in order once all else is seen.
    while (!links_.empty()) {
      std::vector<std::string> links;
      links.swap(links_);
      std::sort(links.begin(), links.end());
      for (const std::string& inside : links) enter(inside);
    }
  }

  // Names one after another, each with its end; the order is that of the file system.
  std::vector<char> names;
  std::vector<std::size_t> ends;

 private:
  void enter(const std::string& inside) {
    const std::string path = inside.empty() ? root_ : root_ + "/" + inside;
    const Folder folder(path);
    struct stat about;
    if (::fstat(::dirfd(folder.get()), &about) != 0) throw Unlistable(errno, path);
    if (!visited_.emplace(about.st_dev, about.st_ino).second) {
      listing_.left_out.push_back(inside);
      return;
    }
    std::vector<std::string> below;  // real folders
    while (true) {
      errno = 0;
      const dirent* entry = ::readdir(folder.get());
      if (!entry) break;
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      const Kind kind = kind_of(::dirfd(folder.get()), path, *entry);
      if (kind == Kind::file || (kind == Kind::nowhere && (name[0] == '.' || named_audio(name)))) {
        add(inside, name);
        continue;
      }
      std::string within = inside.empty() ? std::string(name) : inside + "/" + std::string(name);
      if (kind == Kind::nowhere) {
        listing_.dead_links.push_back(std::move(within));
      } else if (name[0] == '.') {
        listing_.left_out.push_back(std::move(within));
      } else {
        (is_link(::dirfd(folder.get()), path, *entry) ? links_ : below).push_back(std::move(within));
      }
    }
    if (errno != 0) throw Unlistable(errno, path);
    std::sort(below.begin(), below.end());  // so that it is always the same of two ways to a folder that is taken
    for (const std::string& within : below) enter(within);
  }

  enum class Kind { file, folder, nowhere };  // a link is what it leads to, such as an unmounted share: nowhere

  static Kind kind_of(int parent, const std::string& path, const dirent& entry) {
    if (entry.d_type == DT_REG) return Kind::file;
    if (entry.d_type == DT_DIR) return Kind::folder;
    struct stat about;
    if (is_link(parent, path, entry)) {
      if (::fstatat(parent, entry.d_name, &about, 0) != 0) return Kind::nowhere;
    } else if (!look(parent, path, entry.d_name, 0, about)) {
      return Kind::file;
    }
    return S_ISDIR(about.st_mode) ? Kind::folder : Kind::file;
  }

  static bool is_link(int parent, const std::string& path, const dirent& entry) {
    if (entry.d_type != DT_UNKNOWN) return entry.d_type == DT_LNK;
    struct stat about;
    return look(parent, path, entry.d_name, AT_SYMLINK_NOFOLLOW, about) && S_ISLNK(about.st_mode);
  }

  bool named_audio(std::string_view name) const {
    const auto fits = [suffix = suffix_of(name)](const std::string& known) { return same_but_for_case(suffix, known); };
    return name[0] != '.' && std::any_of(suffixes_.begin(), suffixes_.end(), fits);
  }

  void add(const std::string& inside, std::string_view name) {
    if (!named_audio(name)) {
      ++listing_.ignored[std::string(suffix_of(name))];
    } else if (inside.empty()) {
      listing_.unlabelled.emplace_back(name);
    } else {
      names.insert(names.end(), inside.begin(), inside.end());
      names.push_back('/');
      names.insert(names.end(), name.begin(), name.end());
      ends.push_back(names.size());
    }
  }

  const std::string& root_;
  const std::vector<std::string>& suffixes_;
  Listing& listing_;
  std::set<std::pair<dev_t, ino_t>> visited_;
  std::vector<std::string> links_;  // to folders, that were not entered yet
};

void sort_names(const Walk& walk, Listing& listing) {
  if (walk.names.size() > std::numeric_limits<std::int32_t>::max()) throw std::length_error("the names of the files pass 2 GiB");
  const auto name = [&](std::uint32_t i) {
    const std::size_t begin = i == 0 ? 0 : walk.ends[i - 1];
    return std::string_view(walk.names.data() + begin, walk.ends[i] - begin);
  };
  std::vector<std::uint32_t> order(walk.ends.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return name(a) < name(b); });
  listing.names.reserve(walk.names.size());
  listing.offsets.reserve(order.size() + 1);
  listing.offsets.push_back(0);
  for (const std::uint32_t i : order) {
    const std::string_view text = name(i), label = text.substr(0, text.find('/'));
    listing.names.insert(listing.names.end(), text.begin(), text.end());
    listing.offsets.push_back(static_cast<std::int32_t>(listing.names.size()));
    if (listing.labels.empty() || listing.labels.back().first != label) listing.labels.emplace_back(label, 0);
    ++listing.labels.back().second;
  }
}

void look_at_sizes(const std::string& root, std::int64_t threads, Listing& listing) {
  const auto n = static_cast<std::int64_t>(listing.offsets.size()) - 1;
  listing.bytes.resize(n);
  const Folder folder(root);  // names are looked up from here, not from the root of the file system
  parallel_for(n, threads, kFilesAThread, [&](std::int64_t begin, std::int64_t end) {
    std::string name;
    for (std::int64_t i = begin; i < end; ++i) {
      name.assign(listing.names.data() + listing.offsets[i], listing.offsets[i + 1] - listing.offsets[i]);
      struct stat about;
      const bool is_there = look(::dirfd(folder.get()), root, name.c_str(), 0, about);
      listing.bytes[i] = is_there ? static_cast<std::int64_t>(about.st_size) : -1;
    }
  });
}

}  // namespace

Unlistable::Unlistable(int error, std::string path)
    : std::runtime_error(std::strerror(error)), code(error), path(std::move(path)) {}

Listing list_audio(const std::string& root, const std::vector<std::string>& suffixes, std::int64_t threads) {
  Listing listing;
  {
    const Walk walk(root, suffixes, listing);
    sort_names(walk, listing);
  }
  std::sort(listing.unlabelled.begin(), listing.unlabelled.end());
  std::sort(listing.left_out.begin(), listing.left_out.end());
  std::sort(listing.dead_links.begin(), listing.dead_links.end());
  look_at_sizes(root, threads, listing);
  return listing;
}

}  // namespace clinaug
