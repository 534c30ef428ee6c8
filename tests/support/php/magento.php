<?php
// What the module uses of Magento 2.4, as its sources have it: DataObject's getters, Sales\Model\Order, the events of etc/events.xml.
// php magento.php MODULE URL SECRET JSON: JSON changes the order, its lines and its credit memos.
namespace Magento\Framework {
  class DataObject {
    public function __construct(protected array $data = []) {}
    public function getData($key = '') { return $this->data[$key] ?? null; }
    public function setData($key, $value = null) { $this->data[$key] = $value; return $this; }
    public function __call($name, $arguments) {
      if (!str_starts_with($name, 'get')) throw new \Exception("no method $name");
      return $this->getData(strtolower(preg_replace('/(?<!^)([A-Z])/', '_$1', substr($name, 3))));
    }
  }
}
namespace Magento\Framework\Event {
  interface ObserverInterface { public function execute(Observer $observer); }
  class Observer extends \Magento\Framework\DataObject {}
}
namespace Magento\Framework\App\Request {
  class Http { public function __construct(private array $server) {} public function getServer($name = null, $default = null) { return $this->server[$name] ?? $default; } }
}
namespace Magento\Framework\App\Config { interface ScopeConfigInterface { public function getValue($path, $scopeType = 'default', $scopeCode = null); } }
namespace Psr\Log { interface LoggerInterface { public function error(string|\Stringable $message, array $context = []): void; } }
namespace Magento\Framework\Component {
  class ComponentRegistrar { const MODULE = 'module'; public static $all = []; public static function register($type, $name, $path) { self::$all[$name] = $path; } }
}
namespace {
  use Magento\Framework\DataObject;
  use Magento\Framework\Event\Observer;

  class Order extends DataObject {
    public array $lines = [];
    public $memos = false;  // false as long as the order has no id
    public function getAllVisibleItems() { return $this->lines; }
    public function getCreditmemosCollection() { return $this->memos; }
  }
  class Memo extends DataObject { public function getItems() { return $this->data['items']; } }
  class Config implements \Magento\Framework\App\Config\ScopeConfigInterface {
    public static array $all = [];
    public function getValue($path, $scopeType = 'default', $scopeCode = null) { return self::$all[$path] ?? null; }
  }
  class Log implements \Psr\Log\LoggerInterface { public function error(string|\Stringable $message, array $context = []): void { fwrite(STDOUT, $message); } }

  [, $module, $url, $secret, $changes] = $argv;
  $changes = json_decode($changes, true);
  set_error_handler(function ($kind, $text, $file, $line) { if ($kind !== E_DEPRECATED) throw new ErrorException("$text in line $line"); });
  require "$module/registration.php";
  spl_autoload_register(function ($class) {
    // As app/code is loaded: Clew\Orders\Observer\Keep is in Observer/Keep.php of the module Clew_Orders.
    require \Magento\Framework\Component\ComponentRegistrar::$all['Clew_Orders'] . strtr(substr($class, strlen('Clew\Orders')), '\\', '/') . '.php';
  });
  // Each event goes to the observers of events.xml.
  function dispatch(string $event, Order $order, array $server = []): void {
    global $module;
    foreach (simplexml_load_file("$module/etc/events.xml")->xpath("event[@name='$event']/observer") as $found) {
      $class = (string) $found['instance'];
      $parameters = [\Magento\Framework\App\Request\Http::class => new \Magento\Framework\App\Request\Http($server),
        \Magento\Framework\App\Config\ScopeConfigInterface::class => new Config, \Psr\Log\LoggerInterface::class => new Log];
      $wanted = (new ReflectionClass($class))->getConstructor()->getParameters();
      $made = new $class(...array_map(fn ($p) => $parameters[$p->getType()->getName()], $wanted));
      $made->execute(new Observer(['event' => new DataObject(['order' => $order])]));
    }
  }
  $order = new Order(($changes['order'] ?? []) + ['increment_id' => '000000012', 'base_grand_total' => '119.0000', 'base_currency_code' => 'EUR',
    'base_tax_amount' => '19.0000', 'base_shipping_amount' => '4.9000', 'base_discount_amount' => '-10.0000', 'coupon_code' => 'TENOFF',
    'state' => 'new', 'created_at' => '2026-11-27 09:00:00', 'customer_email' => ' Bob.Norman@mail.example']);
  $lines = $changes['lines'] ?? [['sku' => 'MUG-1', 'name' => 'Mug', 'qty_ordered' => '2.0000', 'base_price_incl_tax' => '57.0500', 'base_discount_amount' => '10.0000']];
  $order->lines = array_map(fn ($line) => new DataObject($line), $lines);
  dispatch('sales_order_save_commit_after', $order);  // before the owner has set the address
  Config::$all = ['clew/orders/url' => $url, 'clew/orders/secret' => $secret];
  dispatch('sales_order_place_before', $order, ['HTTP_X_CLEW_REFERRAL' => getenv('TOKEN')]);
  $order->setData('id', 12);
  $order->memos = [];
  dispatch('sales_order_save_commit_after', $order);
  $order->setData('state', 'processing');
  dispatch('sales_order_save_commit_after', $order);
  foreach ($changes['memos'] ?? [] as $memo) {
    $items = array_map(fn ($line) => new DataObject($line), $memo['items']);
    $order->memos[] = new Memo(['items' => $items] + $memo);
    dispatch('sales_order_save_commit_after', $order);
  }
}
